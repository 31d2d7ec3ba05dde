//! Speed over depth as a picture: a line for each test and number of threads.

use std::fmt::Write;

use super::table::Row;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Left, top, right, bottom.
const MARGINS: [f64; 4] = [70.0, 40.0, 160.0, 50.0];

/// Colours that those can tell apart who see few (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// An SVG document of these rows. Depths stand side by side, whatever lies between them; speed begins
/// at 0.
pub(super) fn draw(title: &str, rows: &[Row]) -> String {
    let [left, top, right, bottom] = MARGINS;
    let (wide, high) = (WIDTH - left - right, HEIGHT - top - bottom);
    let mut depths: Vec<u32> = rows.iter().map(|row| row.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    let most = nice(rows.iter().map(Row::mean).fold(0.0, f64::max));
    let x = |depth: u32| {
        let place = depths.iter().position(|own| *own == depth).unwrap_or(0);
        left + wide * (place as f64 + 0.5) / depths.len().max(1) as f64
    };
    let y = |rate: f64| top + high * (1.0 - rate / most);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, words: &str| {
        let words = escaped(words);
        let line =
            format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n");
        svg.push_str(&line);
    };
    text(left, top - 18.0, "start", title);
    text(
        left + wide / 2.0,
        HEIGHT - 12.0,
        "middle",
        "tokens before (depth)",
    );
    for depth in &depths {
        text(
            x(*depth),
            HEIGHT - bottom + 18.0,
            "middle",
            &depth.to_string(),
        );
    }
    for quarter in 0..=4 {
        let rate = most * f64::from(quarter) / 4.0;
        text(
            left - 8.0,
            y(rate) + 4.0,
            "end",
            format!("{rate:.4}")
                .trim_end_matches('0')
                .trim_end_matches('.'),
        );
    }
    let mut series: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let name = format!("{}, {} threads", row.test, row.threads);
        match series.iter_mut().find(|(own, _)| *own == name) {
            Some((_, rows)) => rows.push(row),
            None => series.push((name, vec![row])),
        }
    }
    for (index, (name, _)) in series.iter().enumerate() {
        text(
            WIDTH - right + 28.0,
            top + 18.0 * index as f64 + 4.0,
            "start",
            name,
        );
    }
    // Strings take all that is written.
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {top}v{high}h{wide}\" fill=\"none\" stroke=\"#888\"/>"
    );
    for (index, (_, rows)) in series.iter_mut().enumerate() {
        rows.sort_by_key(|row| row.depth);
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<[f64; 2]> = rows
            .iter()
            .map(|row| [x(row.depth), y(row.mean())])
            .collect();
        let line: Vec<String> = points
            .iter()
            .map(|[x, y]| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        let legend = [WIDTH - right + 16.0, top + 18.0 * index as f64];
        for [x, y] in points.iter().chain([&legend]) {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The next of 1, 2, 4 and 8 times a power of ten.
fn nice(rate: f64) -> f64 {
    if rate <= 0.0 {
        return 1.0;
    }
    let power = 10.0_f64.powf(rate.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|most| *most >= rate)
        .unwrap_or(10.0 * power)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // No control is part of XML 1.0, but for these.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::table::Test;
    use super::*;

    fn row(depth: u32, test: Test, rate: f64) -> Row {
        Row {
            threads: 2,
            test,
            depth,
            rates: vec![rate],
            roof: None,
            resident: None,
        }
    }

    #[test]
    fn each_test_is_a_line_from_depth_to_depth() {
        let (prompt, generated) = (Test::Prompt(512), Test::Generate(8));
        let rows = [
            row(0, prompt, 80.0),
            row(0, generated, 40.0),
            row(4096, prompt, 60.0),
            row(4096, generated, 20.0),
        ];
        let svg = draw("a <b> & \u{1b}", &rows);
        assert!(svg.contains(">a &lt;b&gt; &amp; \u{fffd}</text>"), "{svg}");
        // Half way and a quarter way up to 80, in the middle of each half.
        let (high, wide) = (330.0, 490.0);
        let [left, top] = [70.0, 40.0];
        let at = |half: f64, share: f64| {
            format!(
                "{:.1},{:.1}",
                left + wide * half,
                top + high * (1.0 - share)
            )
        };
        for line in [
            [at(0.25, 1.0), at(0.75, 0.75)],
            [at(0.25, 0.5), at(0.75, 0.25)],
        ] {
            let points = format!("points=\"{}\"", line.join(" "));
            assert!(svg.contains(&points), "{points} in {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 6);
        for words in [
            ">pp512, 2 threads<",
            ">tg8, 2 threads<",
            ">4096<",
            ">80<",
            ">20<",
        ] {
            assert!(svg.contains(words), "{words} in {svg}");
        }
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (rate, most) in [
            (0.0, 1.0),
            (0.3, 0.4),
            (1.0, 1.0),
            (81.0, 100.0),
            (7_999.0, 8_000.0),
        ] {
            assert!((nice(rate) - most).abs() < 1e-9, "{rate}");
        }
    }
}
