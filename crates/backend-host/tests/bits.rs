//! Sums keep one order on every machine: what seeded numbers give is the same bits as where the digests below
//! were taken, whatever processor computes. Exponentials have no part in it: they are the system's.

use backend_host::{Host, KernelSet, Tensor};
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{Backend, Format, HostTensor, Result, Rotation, Rounding, ScaleFormat, Use};

/// Numbers without a pattern.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u32 {
        let (multiplier, increment) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        self.0 = self.0.wrapping_mul(multiplier).wrapping_add(increment);
        (self.0 >> 33) as u32
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 3) as u8).collect()
    }

    fn tensor(&mut self, be: &Host, shape: &[usize]) -> Result<Tensor> {
        let number = |_| (self.next() >> 7) as f32 / (1 << 23) as f32 - 1.0;
        let numbers = (0..shape.iter().product()).map(number).collect();
        be.upload(&HostTensor::new(shape, numbers))
    }

    fn scales(&mut self, count: usize, scale: ScaleFormat) -> Vec<u8> {
        let one = |_| match scale {
            ScaleFormat::E8m0 => vec![118 + (self.next() % 8) as u8],
            ScaleFormat::F32 => (0.001 * (1 + self.next() % 99) as f32).to_le_bytes().into(),
        };
        (0..count).flat_map(one).collect()
    }

    /// A matrix without codes that are no numbers.
    fn weight(&mut self, format: Format, shape: [usize; 2]) -> WeightView {
        let [rows, columns] = shape;
        let count = rows * columns;
        let (data, scales) = match format {
            Format::F32 | Format::Bf16 | Format::F16 => {
                let bytes = if format == Format::F32 { 4 } else { 2 };
                let mut data = self.bytes(bytes * count);
                // Exponents around those of one.
                let exponent = if format == Format::F16 { 0x3b } else { 0x3f };
                for high in data.iter_mut().skip(bytes - 1).step_by(bytes) {
                    *high = *high & 0x80 | exponent;
                }
                (data, Vec::new())
            }
            Format::Fp8 { tile, scale } => {
                let data = self.bytes(count).into_iter().map(|code| code & 0xf7);
                let scales = rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]);
                (data.collect(), self.scales(scales, scale))
            }
            Format::Fp4 { block, scale } => {
                let scales = rows * columns.div_ceil(block);
                (self.bytes(count / 2), self.scales(scales, scale))
            }
            Format::Int8 => (self.bytes(count), self.scales(rows, ScaleFormat::F32)),
            Format::Int4 { group } => {
                let scales = rows * columns.div_ceil(group);
                (self.bytes(count / 2), self.scales(scales, ScaleFormat::F32))
            }
        };
        WeightView {
            name: "w".to_owned(),
            format,
            shape,
            data: Bytes::from(data),
            scales: Bytes::from(scales),
            tile_row: 0,
            stride: None,
        }
    }
}

/// A digest of all numbers (FNV-1a).
fn digest(of: &[Tensor], be: &Host) -> Result<u64> {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for tensor in of {
        for number in be.download(tensor)?.data() {
            assert!(number.is_finite(), "{number} says nothing about an order");
            for byte in number.to_bits().to_le_bytes() {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    Ok(digest)
}

/// Products of one row, of few and of many, with rows that end within a vector.
fn products(be: &Host, format: Format) -> Result<Vec<Tensor>> {
    let mut draw = Draw(1);
    let mut made = Vec::new();
    for (shape, tokens) in [([19, 96], 1), ([23, 1056], 3), ([37, 620], 9), ([5, 50], 6)] {
        let weight = be.load(&draw.weight(format, shape), Use::Product)?;
        made.push(be.linear(&draw.tensor(be, &[tokens, shape[1]])?, &weight)?);
    }
    Ok(made)
}

/// Products of activations, norms, sums, rotations and roundings.
fn others(be: &Host) -> Result<Vec<Tensor>> {
    let mut draw = Draw(2);
    let (a, b) = (
        draw.tensor(be, &[7, 5, 150])?,
        draw.tensor(be, &[7, 11, 150])?,
    );
    let c = draw.tensor(be, &[7, 150, 70])?;
    let angles = draw.tensor(be, &[7, 2, 16])?;
    let fp8 = Rounding::Fp8 {
        block: 50,
        tail: 50,
    };
    Ok(vec![
        be.matmul_t(&a, &b)?,
        be.matmul(&a, &c)?,
        be.sum(&a, 2)?,
        be.sum(&a, 1)?,
        be.rms_norm(&a, None, 1e-6, None)?,
        be.rope(&a, &angles, Rotation::Inverse)?,
        be.round(&a, fp8)?,
    ])
}

const fn fp8(tile: usize, scale: ScaleFormat) -> Format {
    Format::Fp8 {
        tile: [tile; 2],
        scale,
    }
}

const fn fp4(scale: ScaleFormat) -> Format {
    Format::Fp4 { block: 32, scale }
}

const FORMATS: [Format; 9] = [
    Format::F32,
    Format::Bf16,
    Format::F16,
    fp8(128, ScaleFormat::E8m0),
    fp8(32, ScaleFormat::F32),
    fp4(ScaleFormat::E8m0),
    fp4(ScaleFormat::F32),
    Format::Int8,
    Format::Int4 { group: 2 },
];

/// What the products of each format gave, and then the rest.
const DIGESTS: [u64; 10] = [
    0x46dc_d3c1_3345_8cc7,
    0x1935_5dc4_dfbe_a02a,
    0x003a_3a04_fffe_c868,
    0xcd47_a31d_2cdc_4710,
    0x4669_67e3_aa3a_a268,
    0xad17_7adf_7f29_bde2,
    0xd53d_bf27_9b2d_5ee5,
    0x7abd_48c2_1479_5d1a,
    0xf4de_331e_704e_5599,
    0x8231_fc95_ecf9_00f7,
];

#[test]
fn every_machine_gives_the_bits_of_every_other() -> Result<()> {
    for set in KernelSet::available() {
        for threads in [1, 3] {
            let be = Host::start(threads, set)?;
            let products = FORMATS.map(|format| digest(&products(&be, format)?, &be));
            let mut got = products.into_iter().collect::<Result<Vec<_>>>()?;
            got.push(digest(&others(&be)?, &be)?);
            assert_eq!(got, DIGESTS, "{set}, {threads} threads");
        }
    }
    Ok(())
}
