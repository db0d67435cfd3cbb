//! Accuracy over the stream as an SVG picture: one line a strategy, the mean of its seeds.
//!
//! Each point is over the latest scored events before it, a twentieth of all (20 at least), so that one sees learning,
//! drift and bad stretches that a mean over everything hides. P1: root of the mean squared error, lower is better; P2:
//! share of ranks up to 10, higher is better. The picture names the font family only: drawing needs no fonts and no
//! libraries of the system.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::compare::Runs;
use super::outcomes::Outcomes;
use super::spec::Spec;
use super::{EvaluateError, Protocol};
use crate::evaluate::prequential::SHORT_LIST;

/// Width and height, and how much of the width the legend takes.
const SIZE: (u32, u32) = (1_080, 560);
const LEGEND: u32 = 260;

/// Points of a line at most: more than pixels say nothing.
const POINTS: usize = 600;

/// Colours that can be told apart without seeing red or green (Okabe & Ito 2008, yellow darkened). Lines after the eighth
/// are dashed.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(148, 128, 0),
];

/// One line.
struct Line {
    label: String,
    points: Vec<(f64, f64)>,
    /// The measure over all scored events.
    overall: f64,
}

/// Writes the picture.
///
/// # Errors
/// [`EvaluateError::Plot`] if no strategy has a line, or the file cannot be written.
pub fn write(file: &Path, protocol: Protocol, specs: &[Spec], all: &[Runs]) -> Result<(), EvaluateError> {
    let failed = |why: String| EvaluateError::Plot { file: file.to_owned(), why };
    let lines: Vec<Line> = specs.iter().zip(all).filter_map(|(spec, runs)| line(protocol, spec, runs)).collect();
    let picture = draw(protocol, &lines).map_err(failed)?;
    std::fs::write(file, picture).map_err(|error| failed(error.to_string()))
}

fn line(protocol: Protocol, spec: &Spec, runs: &Runs) -> Option<Line> {
    let window = (runs.outcomes[0].at.len() / 20).max(20);
    let rolled: Vec<_> = runs.outcomes.iter().map(|outcomes| rolling(protocol, outcomes, window)).collect();
    let points: Vec<(f64, f64)> = (0..rolled[0].len())
        .map(|at| {
            let sum: f64 = rolled.iter().map(|run| run[at].1).sum();
            (rolled[0][at].0, sum / rolled.len() as f64)
        })
        .filter(|(_, value)| value.is_finite())
        .collect();
    let name = if protocol == Protocol::P1 { "rmse" } else { "hr_10" };
    let each: Vec<f64> = runs.outcomes.iter().filter_map(|outcomes| outcomes.mean(name)).collect();
    let overall = each.iter().sum::<f64>() / each.len() as f64;
    (points.len() > 1).then(|| Line { label: spec.label.clone(), points, overall })
}

/// Place in the stream and measure over the `window` scored events up to there, at [`POINTS`] places at most.
fn rolling(protocol: Protocol, outcomes: &Outcomes, window: usize) -> Vec<(f64, f64)> {
    let of: Vec<f64> = match protocol {
        Protocol::P1 => outcomes.errors().iter().map(|error| error * error).collect(),
        Protocol::P2 | Protocol::P3 => {
            outcomes.ranks.iter().map(|rank| f64::from(u8::from(*rank <= SHORT_LIST))).collect()
        }
    };
    let step = (of.len() / POINTS).max(1);
    let ends = (window..=of.len()).rev().step_by(step).collect::<Vec<_>>();
    let point = |end: &usize| {
        let mean = of[end - window..*end].iter().sum::<f64>() / window as f64;
        let value = if protocol == Protocol::P1 { mean.sqrt() } else { mean };
        (f64::from(outcomes.at[end - 1]) + 1.0, value)
    };
    ends.iter().rev().map(point).collect()
}

/// The picture as SVG.
fn draw(protocol: Protocol, lines: &[Line]) -> Result<String, String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        points().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)))
    };
    let (across, (low, high)) = (range(|point| point.0), range(|point| point.1));
    if lines.is_empty() {
        return Err("no strategy has 20 scored events to draw".to_owned());
    }
    let margin = ((high - low) * 0.06).max(1e-3);
    let down = ((low - margin).max(0.0), high + margin);
    let mut picture = String::new();
    {
        let root = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        let (left, right) = root.split_horizontally(SIZE.0 - LEGEND);
        chart(protocol, &left, lines, across, down).map_err(|error| error.to_string())?;
        legend(&right, lines).map_err(|error| error.to_string())?;
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(picture)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn chart<'a>(
    protocol: Protocol,
    area: &Area<'a>,
    lines: &[Line],
    across: (f64, f64),
    down: (f64, f64),
) -> Result<(), Failure<'a>> {
    let (title, measure) = match protocol {
        Protocol::P1 => ("Error over the stream, lower is better", "RMSE, rolling"),
        Protocol::P2 | Protocol::P3 => ("Hits over the stream, higher is better", "hit rate at 10, rolling"),
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(across.0..across.1, down.0..down.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc("events")
        .y_desc(measure)
        .axis_desc_style(("sans-serif", 15))
        .label_style(("sans-serif", 13))
        .x_label_formatter(&|place| crate::cli::output::count(*place))
        .y_label_formatter(&|value| format!("{value:.3}"))
        .draw()?;
    for (at, line) in lines.iter().enumerate() {
        let (points, style) = (line.points.iter().copied(), style(at));
        if at < COLOURS.len() {
            chart.draw_series(LineSeries::new(points, style))?;
        } else {
            chart.draw_series(DashedLineSeries::new(points, 6, 4, style))?;
        }
    }
    Ok(())
}

/// Names and figures over all events beside samples of their lines, the highest first: as in the picture, from the top.
fn legend<'a>(area: &Area<'a>, lines: &[Line]) -> Result<(), Failure<'a>> {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|one, two| lines[*two].overall.total_cmp(&lines[*one].overall));
    let text = |size: u32| TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new("over all events", (4, 50), text(13).color(&RGBColor(90, 90, 90))))?;
    for (row, at) in (0..).zip(order) {
        let y = 76 + 24 * row;
        let sample = if at < COLOURS.len() { vec![(4, y), (30, y)] } else { vec![(4, y), (13, y)] };
        area.draw(&PathElement::new(sample, style(at)))?;
        if at >= COLOURS.len() {
            area.draw(&PathElement::new(vec![(20, y), (30, y)], style(at)))?;
        }
        let label = format!("{:.4}  {}", lines[at].overall, shortened(&lines[at].label));
        area.draw(&Text::new(label, (38, y), text(14)))?;
    }
    Ok(())
}

fn style(at: usize) -> ShapeStyle {
    COLOURS[at % COLOURS.len()].stroke_width(2)
}

/// A label that fits the legend.
fn shortened(label: &str) -> String {
    const LETTERS: usize = 26;
    if label.chars().count() <= LETTERS {
        return label.to_owned();
    }
    label.chars().take(LETTERS - 1).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolling_figures_are_of_the_window() {
        let mut outcomes = Outcomes::default();
        for at in 0..50 {
            outcomes.predicted(at, 0, if at < 30 { 1.0 } else { 3.0 }, 0.0);
        }
        let rolled = rolling(Protocol::P1, &outcomes, 20);
        assert_eq!(rolled.len(), 31);
        assert_eq!((rolled[0], rolled[30]), ((20.0, 1.0), (50.0, 3.0)));
        assert!((rolled[20].1 - 5.0_f64.sqrt()).abs() < 1e-12, "half of each: {:?}", rolled[20]);
        assert!(rolling(Protocol::P1, &outcomes, 51).is_empty());
        let mut outcomes = Outcomes::default();
        (0..9_000).for_each(|at| outcomes.ranked(at, 0, if at % 4 == 0 { 10 } else { 11 }));
        let rolled = rolling(Protocol::P2, &outcomes, 400);
        assert!(rolled.len() <= POINTS && rolled.iter().all(|(_, share)| (share - 0.25).abs() < 1e-12));
    }

    #[test]
    fn a_picture_has_a_line_and_a_name_for_each() {
        let line = |number: u32| Line {
            label: format!("strategy <{number}> with quite some & many parameters"),
            overall: f64::from(number),
            points: (1..40).map(|at| (f64::from(at), 1.0 / f64::from(at + number))).collect(),
        };
        let lines: Vec<Line> = (0..10).map(line).collect();
        let picture = draw(Protocol::P1, &lines).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        assert_eq!(picture.matches("strategy &lt;").count(), 10, "escaped and shortened");
        assert!(picture.contains("RMSE, rolling") && picture.contains("events") && !picture.contains("NaN"));
        assert!(picture.matches("<polyline").count() > 10 + 10);
        assert!(draw(Protocol::P2, &[]).is_err());
    }
}
