//! Images against the reference: how they are resized, and what the tower makes of them.

use anyhow::{Context, Result};
use backend_candle::Candle;
use backend_host::Host;
use conformance::compare::close;
use conformance::fixture::{Fixture, folder};
use conformance::model::meta;
use deepseek_core::weights::{Checkpoint, Tensors};
use deepseek_core::{Backend, Kernels, Loader, Numerics, Shares};
use deepseek_model::Config;
use deepseek_vision::{Canvas, Grid, Image, Place, Tower, VisionConfig};

const NAME: &str = "vision-s5";

/// Agreement with the reference on features of unit scale (`docs/models/deepseek-v41.md` §4).
const TOLERANCE: f32 = 1e-3;

fn shape() -> Result<VisionConfig> {
    let json = std::fs::read_to_string(folder(NAME).join("config.json"))?;
    // The fixture is a tower alone, without tables for the n-gram memory of its config.
    let mut config: serde_json::Value = serde_json::from_str(&json)?;
    config["text_config"]["engram_layer_ids"] = serde_json::json!([]);
    Config::parse(&config.to_string())?
        .vision
        .context("a tower")
}

fn expected() -> Result<Fixture> {
    Fixture::open(&format!("{NAME}/expected.safetensors"))
}

/// The names of all images, `100x37`, and what is said of them.
fn images() -> Result<Vec<(String, serde_json::Value)>> {
    let images = meta(NAME)?["pictures"].take();
    let images = images.as_array().context("pictures")?.clone();
    let named = images.into_iter().map(|about| {
        let side = |index: usize| about["size"][index].as_u64().context("size");
        Ok((format!("{}x{}", side(0)?, side(1)?), about))
    });
    named.collect()
}

fn image(name: &str) -> Result<Image> {
    let path = folder(NAME).join(format!("pictures/{name}.png"));
    Ok(Image::decode(&std::fs::read(path)?)?)
}

fn tower<B: Kernels>(be: &B, numerics: Numerics) -> Result<Tower<B>> {
    let checkpoint = Checkpoint::open(&folder(NAME))?;
    let at = Loader {
        be,
        tensors: Tensors::new(&checkpoint, [32, 32]),
        numerics,
        input_block: 32,
        shares: Shares::WHOLE,
    };
    Ok(Tower::load(&at, shape()?)?)
}

#[test]
fn canvases_are_those_of_the_reference_to_the_last_bit() -> Result<()> {
    let (reference, shape) = (expected()?, shape()?);
    let images = images()?;
    assert!(images.len() >= 8, "{} sizes", images.len());
    for (name, _) in images {
        let canvas = Canvas::new(&image(&name)?, &shape);
        let (size, want) = reference.bytes(&format!("canvas.{name}"))?;
        let [width, height] = canvas.grid().canvas;
        assert_eq!(size, [height, width, 3], "{name}");
        assert!(canvas.rgb() == want, "{name}: other pixels");
        let patches = format!("patches.{name}");
        if reference.has(&patches) {
            let (got, want) = (canvas.patches(shape.patch), reference.floats(&patches)?);
            close(&name, got.data(), want.data(), 1e-6);
        }
    }
    Ok(())
}

#[test]
fn features_are_those_of_the_reference_at_every_size() -> Result<()> {
    fn check<B: Kernels>(be: &B, what: &str) -> Result<()> {
        let (reference, shape, tower) = (expected()?, shape()?, tower(be, Numerics::EXACT)?);
        for (name, _) in images()? {
            let canvas = Canvas::new(&image(&name)?, &shape);
            let got = tower.encode(be, &canvas.patches(shape.patch), canvas.grid())?;
            let want = reference.floats(&format!("features.{name}"))?;
            let got = be.download(&got)?;
            close(
                &format!("{what} {name}"),
                got.data(),
                want.data(),
                TOLERANCE,
            );
        }
        Ok(())
    }
    check(&Host::new(2), "host")?;
    check(&Candle::plain(), "plain")
}

#[test]
fn the_other_readings_of_size_and_pixels_give_something_else() -> Result<()> {
    let be = Host::new(2);
    let (reference, shape) = (expected()?, shape()?);
    let tower = tower(&be, Numerics::EXACT)?;
    let (mut passes, mut pixels) = (0, 0);
    for (name, about) in images()? {
        let side = |index: usize| about["size"][index].as_u64().map(|x| x as usize);
        let (width, height) = side(0).zip(side(1)).context("size")?;
        let (ours, once) = (
            Grid::fit(width, height, &shape),
            Grid::one_pass(width, height, &shape),
        );
        let reading = format!("reading.one_pass.{name}");
        // The service settles the size, the published loader takes the first pass (§4.1).
        assert_eq!(reference.has(&reading), ours != once, "{name}");
        passes += usize::from(ours != once);
        // Pixels are rounded to BF16 at the level that rounds activations, and there alone.
        let reading = format!("reading.bf16_pixels.{name}");
        if reference.has(&reading) {
            let other = reference.floats(&reading)?;
            let canvas = Canvas::new(&image(&name)?, &shape);
            let got = tower.encode(&be, &canvas.patches(shape.patch), canvas.grid())?;
            let got = be.download(&got)?;
            let pairs = got.data().iter().zip(other.data());
            let apart = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(apart > TOLERANCE, "{name}: {apart} from BF16");
            pixels += 1;
        }
    }
    assert!(passes >= 2 && pixels >= 2, "{passes} and {pixels} readings");
    Ok(())
}

#[test]
fn the_released_level_rounds_and_stays_near() -> Result<()> {
    let be = Host::new(2);
    let (reference, shape) = (expected()?, shape()?);
    let tower = tower(&be, Numerics::RELEASED)?;
    let canvas = Canvas::new(&image("48x48")?, &shape);
    let got = tower.encode(&be, &canvas.patches(shape.patch), canvas.grid())?;
    let got = be.download(&got)?;
    let want = reference.floats("features.48x48")?;
    assert_ne!(got.data(), want.data());
    let largest = want
        .data()
        .iter()
        .fold(0.0_f32, |most, x| most.max(x.abs()));
    close("48x48", got.data(), want.data(), 0.05 * largest);
    Ok(())
}

#[test]
fn an_image_is_laid_out_row_by_row_between_its_delimiters() -> Result<()> {
    let shape = shape()?;
    for (name, _) in images()? {
        let canvas = Canvas::new(&image(&name)?, &shape);
        let [columns, rows] = canvas.grid().cells;
        let layout: Vec<Place> = canvas.grid().layout().collect();
        assert_eq!(layout.len(), canvas.grid().tokens(), "{name}");
        assert!(layout.len() <= shape.max_tokens, "{name}");
        let mut want = vec![Place::Start];
        for _ in 0..rows {
            want.extend(vec![Place::Feature; columns]);
            want.push(Place::Newline);
        }
        want.push(Place::End);
        assert_eq!(layout, want, "{name}");
    }
    Ok(())
}
