//! Sizes of images against the vendor's.

use std::path::Path;

use deepseek_vision::limits::PASSES_MAX;
use deepseek_vision::{Canvas, Grid, Image, Place, VisionConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[track_caller]
fn check(size: [usize; 2], canvas: [usize; 2], tokens: usize) {
    let grid = Grid::fit(size[0], size[1], &VisionConfig::RELEASED);
    assert_eq!((grid.canvas, grid.tokens()), (canvas, tokens), "{size:?}");
}

/// A size of some area up to 64 megapixels and some aspect up to 2000.
fn any_size(rng: &mut ChaCha8Rng) -> [usize; 2] {
    let area = (64e6_f64).powf(rng.random());
    let aspect = (2000.0_f64).powf(rng.random_range(-1.0..1.0));
    let side = |area: f64| (area.sqrt() as usize).clamp(1, 65_535);
    [side(area * aspect), side(area / aspect)]
}

#[test]
fn sizes_are_those_of_the_vendors_vectors() -> Result<(), Box<dyn std::error::Error>> {
    let path = "../../tests/fixtures/text/prompt_vectors_v41.json";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))?;
    let vectors: serde_json::Value = serde_json::from_str(&text)?;
    let sizes: Vec<[usize; 3]> = serde_json::from_value(vectors["image_tokens"].clone())?;
    assert_eq!(sizes.len(), 16);
    for [width, height, tokens] in sizes {
        let grid = Grid::fit(width, height, &VisionConfig::RELEASED);
        assert_eq!(grid.tokens(), tokens, "{width}x{height}");
    }
    Ok(())
}

#[test]
fn sizes_are_those_of_the_specification() {
    for side in [1, 224, 544] {
        check([side, side], [546, 546], 184);
    }
    for side in [1344, 5000, 8192] {
        check([side, side], [1302, 1302], 994);
    }
    check([640, 480], [644, 490], 206);
    check([1280, 720], [1288, 728], 578);
    check([1920, 1080], [1708, 966], 968);
    check([3840, 2160], [1708, 966], 968);
    check([3000, 2000], [1568, 1050], 977);
    check([3000, 4000], [1134, 1512], 1010);
    check([8000, 200], [8008, 210], 962);
    check([60_000, 20], [42_882, 42], 1024);
    check([20, 60_000], [42, 21_462], 1024);
    let grid = Grid::fit(1280, 720, &VisionConfig::RELEASED);
    assert_eq!((grid.patches, grid.cells), ([92, 52], [31, 18]));
    let grid = Grid::fit(1920, 1080, &VisionConfig::RELEASED);
    assert_eq!((grid.patches, grid.cells), ([122, 69], [41, 23]));
}

#[test]
fn elongated_sizes_are_those_of_the_vendors_package() {
    check([2, 165], [70, 4942], 356);
    check([165, 2], [4942, 70], 240);
    check([158, 10_000], [126, 7966], 762);
    check([10_000, 158], [10_010, 168], 962);
    check([1033, 141], [1484, 210], 187);
    check([125, 751], [224, 1344], 226);
    check([16_809, 11_841], [1540, 1092], 990);
}

#[test]
fn every_size_settles_within_the_budget() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..50_000 {
        let size = any_size(&mut rng);
        let grid = Grid::fit(size[0], size[1], &VisionConfig::RELEASED);
        assert!((171..=1024).contains(&grid.tokens()), "{size:?}: {grid:?}");
        let again = Grid::one_pass(grid.canvas[0], grid.canvas[1], &VisionConfig::RELEASED);
        assert_eq!(again, grid, "{size:?} after {PASSES_MAX} passes");
    }
}

#[test]
fn the_two_readings_differ_for_elongated_images_alone() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut differ = 0;
    for _ in 0..50_000 {
        let [width, height] = any_size(&mut rng);
        if Grid::fit(width, height, &VisionConfig::RELEASED)
            != Grid::one_pass(width, height, &VisionConfig::RELEASED)
        {
            let aspect = width as f64 / height as f64;
            assert!(aspect.max(1.0 / aspect) > 5.8, "{width}x{height}");
            differ += 1;
        }
    }
    assert!((1000..2000).contains(&differ), "{differ} of 50000 differ");
}

#[test]
fn the_second_pass_enlarges_what_the_first_left_too_small() {
    // The mildest aspect: the first pass ends a little below the least area.
    let once = Grid::one_pass(13, 76, &VisionConfig::RELEASED);
    assert_eq!((once.canvas, once.tokens()), ([224, 1316], 226));
    check([13, 76], [224, 1330], 226);
    // An image of megapixels: cut down to fewer pixels than the least.
    let once = Grid::one_pass(165, 28_821, &VisionConfig::RELEASED);
    assert_eq!((once.canvas, once.tokens()), ([28, 7336], 352));
    check([165, 28_821], [42, 8806], 422);
}

#[test]
fn a_layout_has_a_row_of_features_and_a_line_break_for_each_row() {
    let grid = Grid::fit(640, 480, &VisionConfig::RELEASED);
    let layout: Vec<_> = grid.layout().collect();
    assert_eq!(layout.len(), grid.tokens());
    let [columns, rows] = grid.cells;
    let (inner, ends) = (&layout[1..layout.len() - 1], [layout[0], layout[205]]);
    assert_eq!(ends, [Place::Start, Place::End]);
    assert_eq!(inner.len(), rows * (columns + 1));
    for row in inner.chunks(columns + 1) {
        assert_eq!(row[columns], Place::Newline);
        assert!(row[..columns].iter().all(|place| *place == Place::Feature));
    }
}

#[test]
fn a_ratio_narrows_wide_images_and_stretches_them() {
    let shape = VisionConfig {
        max_wh_ratio: Some(2.0),
        ..VisionConfig::RELEASED
    };
    let narrowed = Grid::fit(4000, 600, &shape);
    assert_eq!(narrowed, Grid::fit(1200, 600, &VisionConfig::RELEASED));
    assert_eq!(
        Grid::fit(600, 4000, &shape),
        Grid::fit(600, 4000, &VisionConfig::RELEASED)
    );
    // Stretched: no grey at top or bottom.
    let white = Image::from_rgb(1000, 300, vec![255; 1000 * 300 * 3]);
    let canvas = Canvas::new(&white, &shape);
    assert!(canvas.rgb().iter().all(|sample| *sample == 255));
    assert!(
        Canvas::new(&white, &VisionConfig::RELEASED)
            .rgb()
            .contains(&127)
    );
}
