//! What a video says, and what is read from it.

use std::fs;
use std::path::PathBuf;

use deepseek_vision::VisionConfig;
use deepseek_vision::video::{Clip, Video, VideoConfig, VideoError};
use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, RgbImage, RgbaImage};

use crate::build::{avi, bitmap, chunk, jpeg, list, strh, video_stream, wave, y4m};
use crate::bytes::with;

/// The grey of each frame that is left.
fn shades(video: &mut Video) -> Vec<u8> {
    let frames = std::iter::from_fn(|| video.next_frame().expect("a frame"));
    frames.map(|(_, image)| image.rgb()[0]).collect()
}

#[track_caller]
fn samples(video: &Video) -> Vec<f32> {
    let track = video
        .audio()
        .expect("it can be read")
        .expect("there is audio");
    track.flat_map(|block| block.expect("a block")).collect()
}

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("video-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn image(&self, name: &str, shade: u8) {
        let image = RgbImage::from_pixel(4, 2, image::Rgb([shade; 3]));
        image.save(self.0.join(name)).expect("an image");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn grey_of_limited_range_is_stretched() {
    let mut file = b"YUV4MPEG2 W3 H1 F10:1 C444\nFRAME\n".to_vec();
    file.extend([16, 126, 235, 128, 128, 128, 128, 128, 128]);
    let mut video = Video::from_bytes(file).expect("a video");
    let (_, image) = video.next_frame().expect("a frame").expect("one");
    assert_eq!(image.rgb(), [0, 0, 0, 128, 128, 128, 255, 255, 255]);
}

#[test]
fn chroma_of_odd_sides_stands_for_what_is_there() {
    // 3 by 3 of luma, 2 by 2 of chroma: the last column and row have one of their own.
    let mut file = b"YUV4MPEG2 W3 H3 F10:1 C420jpeg XCOLORRANGE=FULL\nFRAME\n".to_vec();
    file.extend([100; 9]);
    file.extend([128, 128, 128, 128]);
    file.extend([128, 228, 28, 128]);
    let mut video = Video::from_bytes(file).expect("a video");
    let (_, image) = video.next_frame().expect("a frame").expect("one");
    let red: Vec<u8> = image.rgb().chunks(3).map(|pixel| pixel[0]).collect();
    assert_eq!(red, [100, 100, 240, 100, 100, 240, 0, 0, 100]);
}

#[test]
fn a_rate_may_be_a_ratio_and_a_frame_may_have_words() {
    let mut file = y4m("W2 H2 F30000:1001 Ip A1:1 C420paldv Xwhatever", 6, &[128]);
    file.extend(b"FRAME Ip\n");
    file.extend([50; 6]);
    let video = Video::from_bytes(file).expect("a video");
    assert_eq!(video.times(), [0.0, 1001.0 / 30_000.0]);
    assert!((video.duration() - 2002.0 / 30_000.0).abs() < 1e-12);
}

#[test]
fn a_delay_that_is_none_is_a_tenth_of_a_second() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for ms in [0, 10, 20] {
        let image = RgbaImage::from_pixel(4, 2, image::Rgba([9, 9, 9, 255]));
        let delay = Delay::from_numer_denom_ms(ms, 1);
        let frame = Frame::from_parts(image, 0, 0, delay);
        encoder.encode_frame(frame).expect("a frame");
    }
    drop(encoder);
    let video = Video::from_bytes(bytes).expect("a video");
    assert_eq!(
        (video.times(), video.duration()),
        (&[0.0, 0.1, 0.2][..], 0.22)
    );
}

#[test]
fn chunks_of_no_bytes_are_the_frame_before() {
    let chunks = [
        chunk(b"00dc", &[]),
        chunk(b"00dc", &jpeg(40)),
        chunk(b"00dc", &[]),
        chunk(b"00dc", &[]),
        chunk(b"00db", &jpeg(200)),
        chunk(b"00dc", &[]),
    ];
    let mut video = Video::from_bytes(avi(&[video_stream()], &chunks)).expect("a video");
    // Time begins with the first frame that there is.
    assert_eq!((video.times(), video.duration()), (&[0.0, 0.3][..], 0.5));
    assert_eq!(shades(&mut video), [40, 200]);
}

#[test]
fn lists_in_lists_and_files_beyond_the_first_gigabyte_are_read() {
    let frames = [10, 20, 30, 40].map(|shade| chunk(b"01dc", &jpeg(shade)));
    let [one, two, three, four] = frames;
    let other = [strh(b"txts", 1, 1, 0), chunk(b"strf", &[])];
    let record = list(b"LIST", b"rec ", &[two, chunk(b"00tx", b"hello")]);
    let mut file = avi(
        &[other, video_stream()],
        &[one, record, chunk(b"ix01", &[0; 8])],
    );
    file.extend(list(
        b"RIFF",
        b"AVIX",
        &[list(b"LIST", b"movi", &[three, four])],
    ));
    let mut video = Video::from_bytes(file).expect("a video");
    assert_eq!(video.times(), [0.0, 0.1, 0.2, 0.3]);
    assert_eq!(shades(&mut video), [10, 20, 30, 40]);
}

#[test]
fn the_last_chunk_may_lack_its_padding() {
    let frame = chunk(b"00dc", &[jpeg(90), vec![]].concat());
    let odd = chunk(b"01wb", &[0; 3]);
    let mut file = avi(
        &[
            video_stream(),
            [strh(b"auds", 8000, 1, 0), wave(1, 1, 8000, 8)],
        ],
        &[frame, odd],
    );
    file.pop();
    let video = Video::from_bytes(file).expect("a video");
    assert_eq!((samples(&video).len(), video.notes()), (3, vec![]));
}

/// A video of a second whose audio begins by its header at such ticks.
fn with_audio(start: [u32; 2], format: Vec<u8>, data: &[u8]) -> Video {
    let [video_start, audio_start] = start;
    let video = [strh(b"vids", 10, 1, video_start), bitmap(16, 8, b"MJPG")];
    let audio = [strh(b"auds", 10, 1, audio_start), format];
    // A cut in the midst of a block, too.
    let (first, second) = data.split_at(data.len() / 2);
    let chunks = [
        chunk(b"00dc", &jpeg(1)),
        chunk(b"01wb", first),
        chunk(b"01wb", &[]),
        chunk(b"01wb", second),
    ];
    Video::from_bytes(avi(&[video, audio], &chunks)).expect("a video")
}

#[test]
fn every_kind_of_sample_is_between_one_and_minus_one() {
    let i16s: Vec<u8> = [i16::MIN, 0, 16_384].map(i16::to_le_bytes).concat();
    let i32s: Vec<u8> = [i32::MIN, 0, 1 << 30].map(i32::to_le_bytes).concat();
    let i24s: Vec<u8> = vec![0, 0, 0x80, 0, 0, 0, 0, 0, 0x40];
    let f32s: Vec<u8> = [-1.0, 0.0, 0.5_f32].map(f32::to_le_bytes).concat();
    let f64s: Vec<u8> = [-1.0, f64::NAN, 0.5].map(f64::to_le_bytes).concat();
    let extended = [1_u16, 0, 0, 0].map(u16::to_le_bytes).concat();
    let mut extensible = wave(0xFFFE, 1, 8000, 16);
    // 22 bytes more: which bits count, which speakers, then the kind.
    extensible.extend([&[22, 0, 16, 0, 0, 0, 0, 0][..], &extended, &[0; 8]].concat());
    extensible[4..8].copy_from_slice(&40_u32.to_le_bytes());
    let cases = [
        (wave(1, 1, 8000, 8), vec![0, 128, 192]),
        (wave(1, 1, 8000, 16), i16s.clone()),
        (wave(1, 1, 8000, 24), i24s),
        (wave(1, 1, 8000, 32), i32s),
        (wave(3, 1, 8000, 32), f32s),
        (wave(3, 1, 8000, 64), f64s),
        (extensible, i16s),
    ];
    for (format, data) in cases {
        assert_eq!(
            samples(&with_audio([0, 0], format, &data)),
            [-1.0, 0.0, 0.5]
        );
    }
}

#[test]
fn channels_are_averaged() {
    let data = [8192_i16, 16_384, -8192, 0].map(i16::to_le_bytes).concat();
    let video = with_audio([0, 0], wave(1, 2, 8000, 16), &data);
    assert_eq!(samples(&video), [0.375, -0.125]);
    assert_eq!(
        video
            .audio()
            .expect("it can be read")
            .expect("audio")
            .rate(),
        8000
    );
}

#[test]
fn audio_begins_with_the_first_frame() {
    let data: Vec<u8> = (0..200).collect();
    let want: Vec<f32> = data
        .iter()
        .map(|sample| (f32::from(*sample) - 128.0) / 128.0)
        .collect();
    let format = || wave(1, 1, 100, 8);
    assert_eq!(samples(&with_audio([0, 0], format(), &data)), want);
    assert_eq!(samples(&with_audio([7, 7], format(), &data)), want);
    // Half a second later: silence before it.
    let late = samples(&with_audio([1, 6], format(), &data));
    assert_eq!(late, [vec![0.0; 50], want.clone()].concat());
    // 1.2 s earlier, which is in the second chunk: cut.
    assert_eq!(samples(&with_audio([12, 0], format(), &data)), want[120..]);
    // All of it before the video.
    assert!(samples(&with_audio([30, 0], format(), &data)).is_empty());
}

#[test]
fn audio_can_be_read_beside_the_frames_and_again() {
    let mut video = with_audio([0, 0], wave(1, 1, 8000, 8), &[0; 100]);
    let track = video.audio().expect("it can be read").expect("audio");
    assert_eq!(shades(&mut video), [1]);
    assert_eq!(
        track
            .map(|block| block.expect("a block").len())
            .sum::<usize>(),
        100
    );
    assert_eq!(samples(&video).len(), 100);
}

#[test]
fn images_are_in_the_order_of_their_numbers() {
    let folder = Folder::new("order");
    for (name, shade) in [
        ("a10.png", 10),
        ("a9.png", 9),
        ("b009.PNG", 8),
        ("a100.bmp", 100),
    ] {
        folder.image(name, shade);
    }
    fs::write(folder.0.join("notes.txt"), "of no account").expect("a file");
    fs::create_dir(folder.0.join("1.png")).expect("a folder");
    let mut video = Video::from_images(&folder.0, 4.0).expect("a video");
    assert_eq!(
        (video.times(), video.duration()),
        (&[0.0, 0.25, 0.5, 0.75][..], 1.0)
    );
    assert_eq!(shades(&mut video), [9, 8, 10, 100]);
    let mut video = Video::from_images(&folder.0.join("a*.png"), 0.5).expect("a video");
    assert_eq!(video.times(), [0.0, 2.0]);
    assert_eq!(shades(&mut video), [9, 10]);
}

#[test]
fn a_folder_without_order_or_images_is_refused() {
    let folder = Folder::new("refused");
    let open = |fps| {
        Video::from_images(&folder.0, fps)
            .expect_err("no video")
            .to_string()
    };
    assert_eq!(open(1.0), "video: image folder without a frame");
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(open(fps), format!("video: {fps} frames a second"));
    }
    folder.image("1.png", 1);
    folder.image("cover.png", 2);
    assert_eq!(open(1.0), "video: no number in the name cover.png");
    let nowhere = Video::from_images(&folder.0.join("no/*"), 1.0).expect_err("no folder");
    assert!(matches!(nowhere, VideoError::Io(_)), "{nowhere}");
    fs::write(folder.0.join("2.png"), "no image").expect("a file");
    let none = Video::from_images(&folder.0.join("?.png"), 1.0).expect_err("no such name");
    assert!(matches!(none, VideoError::NoFrames { .. }), "{none}");
    let mut video = Video::from_images(&folder.0.join("*2.png"), 1.0).expect("one file");
    let error = video.next_frame().expect_err("no image");
    assert!(
        matches!(&error, VideoError::Image { name, .. } if name == "2.png"),
        "{error}"
    );
}

#[test]
fn a_clip_has_frames_of_one_grid_and_their_own_times() -> Result<(), VideoError> {
    let shades: Vec<u8> = (0..100).collect();
    let video = Video::from_bytes(y4m(
        "W32 H18 F25:1 C444 XCOLORRANGE=FULL",
        3 * 32 * 18,
        &shades,
    ))?;
    let clip = Clip::new(video, &VisionConfig::RELEASED, &VideoConfig::default());
    let labels: Vec<String> = clip.labels().iter().map(ToString::to_string).collect();
    let want = [
        "<0.0s>", "<0.5s>", "<1.0s>", "<1.5s>", "<2.0s>", "<2.5s>", "<3.0s>", "<3.5s>",
    ];
    assert_eq!(labels, want);
    let want = clip.labels().to_vec();
    let shots = clip.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(
        shots.iter().map(|shot| shot.label).collect::<Vec<_>>(),
        want
    );
    for shot in &shots {
        assert_eq!(shot.frames.len(), 1);
        assert_eq!(shot.grid(), shots[0].grid());
        assert!(shot.grid().tokens() <= 128);
    }
    Ok(())
}

#[test]
fn merged_frames_have_the_label_of_the_first() -> Result<(), VideoError> {
    let video = Video::from_bytes(y4m("W2 H2 F2:1 C420", 6, &[128; 5]))?;
    let config = VideoConfig {
        temporal_merge: 2,
        ..VideoConfig::default()
    };
    let clip = Clip::new(video, &VisionConfig::RELEASED, &config);
    let labels = clip.labels().to_vec();
    let shots = clip.collect::<Result<Vec<_>, _>>()?;
    let sizes: Vec<usize> = shots.iter().map(|shot| shot.frames.len()).collect();
    assert_eq!(sizes, [2, 2, 1]);
    let texts: Vec<String> = shots.iter().map(|shot| shot.label.to_string()).collect();
    assert_eq!(texts, ["<0.0s>", "<1.0s>", "<2.0s>"]);
    assert_eq!(
        labels,
        shots.iter().map(|shot| shot.label).collect::<Vec<_>>()
    );
    Ok(())
}

#[test]
fn frames_of_other_sizes_are_fitted_into_the_grid_of_the_first() -> Result<(), VideoError> {
    let folder = Folder::new("sizes");
    for (name, width, height) in [("1.png", 40, 20), ("2.png", 20, 40), ("3.png", 7, 7)] {
        let image = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
        image.save(folder.0.join(name)).expect("an image");
    }
    let video = Video::from_images(&folder.0, 1.0)?;
    let shots = Clip::new(video, &VisionConfig::RELEASED, &VideoConfig::default())
        .collect::<Result<Vec<_>, _>>()?;
    let [columns, rows] = shots[0].grid().canvas;
    assert!(columns > rows);
    let white = |shot: usize| {
        let rgb = shots[shot].frames[0].rgb();
        rgb.iter().filter(|sample| **sample == 255).count() as f64 / rgb.len() as f64
    };
    assert!(shots.iter().all(|shot| shot.grid() == shots[0].grid()));
    assert!(white(0) > 0.9 && (0.2..0.4).contains(&white(1)) && (0.4..0.6).contains(&white(2)));
    Ok(())
}

#[test]
fn a_broken_frame_ends_a_clip() {
    let frames = [jpeg(1), b"no image".to_vec(), jpeg(3), jpeg(4)];
    let chunks = frames.map(|frame| chunk(b"00dc", &frame));
    let video = Video::from_bytes(avi(&[video_stream()], &chunks)).expect("a video");
    let mut clip = Clip::new(video, &VisionConfig::RELEASED, &VideoConfig::default());
    assert!(clip.next().expect("a block").is_ok());
    let error = clip.next().expect("a block").expect_err("no image");
    assert_eq!(error.to_string(), "video: frame 1");
    assert!(clip.next().is_none());
    // A file of which each frame is a lie is no video that is read twice, either.
    let bytes = with(&avi(&[video_stream()], &chunks), 8, b"AVIX");
    assert!(matches!(
        Video::from_bytes(bytes),
        Err(VideoError::UnknownFormat)
    ));
}
