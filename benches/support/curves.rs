//! How the cost grows with the cluster, and its picture.

use std::time::Duration;

use plotters::prelude::*;

use crate::cluster::Cluster;
use crate::figures::{Row, exponent};
use crate::kernel::{clear, full_commits, incremental, kinds_of_change, synced, told};
use crate::support::netns::Netns;

/// Services of ten endpoints each.
pub const SIZES: [usize; 6] = [100, 300, 1_000, 3_000, 10_000, 30_000];
const ENDPOINTS: usize = 10;
/// Below this size fixed costs hide the curve: the exponent is fitted from here on.
const FITTED_FROM: usize = 1_000;

/// One curve: its name, and milliseconds by number of services.
pub type Curve = (String, Vec<(f64, f64)>);

/// Measures each size, and fits each curve.
pub fn measure(sizes: &[usize]) -> (Vec<Row>, Vec<Curve>) {
    let namespace = Netns::new("bench");
    let (mut rows, mut curves) = (Vec::new(), Vec::<Curve>::new());
    for services in sizes {
        for (name, time) in namespace.enter(|| times(*services)) {
            rows.push(Row::ms(&services.to_string(), &name, time));
            let point = (*services as f64, time.as_secs_f64() * 1e3);
            match curves.iter_mut().find(|(curve, _)| *curve == name) {
                Some((_, points)) => points.push(point),
                None => curves.push((name, vec![point])),
            }
        }
    }
    for (name, points) in &curves {
        let fitted: Vec<_> = points.iter().copied().filter(|(n, _)| *n >= FITTED_FROM as f64).collect();
        let value = (exponent(&fitted) * 100.0).round() / 100.0;
        rows.push(Row::count("all", &format!("{name}: fitted exponent (1 is linear, 0 does not grow)"), value));
    }
    (rows, curves)
}

fn times(services: usize) -> Vec<(String, Duration)> {
    let mut cluster = Cluster::new(services, ENDPOINTS);
    let mut state = told(&cluster);
    let full = full_commits(&state, if services > 10_000 { 2 } else { 4 });
    let mut times = vec![
        ("everything: state known to commit".to_owned(), full.total_cpu),
        ("everything: kernel alone".to_owned(), full.raw_cpu),
    ];
    let mut engine = synced(&mut state);
    let kinds = kinds_of_change();
    for change in [kinds[0], kinds[2], kinds[3]] {
        let rows = incremental("", change, 60, &mut cluster, &mut state, &mut engine);
        times.extend(rows.into_iter().map(|row| (change.0.to_owned(), row.time())));
    }
    clear();
    times
}

/// Draws the curves on logarithmic axes.
pub fn draw(curves: &[Curve], path: &str) {
    let all = || curves.iter().flat_map(|(_, points)| points);
    let bound =
        |pick: fn(&(f64, f64)) -> f64, better: fn(f64, f64) -> f64| all().map(pick).reduce(better).expect("points");
    let x = bound(|p| p.0, f64::min)..bound(|p| p.0, f64::max);
    let y = bound(|p| p.1, f64::min) / 2.0..bound(|p| p.1, f64::max) * 2.0;
    let area = SVGBackend::new(path, (900, 520)).into_drawing_area();
    area.fill(&WHITE).expect("a picture");
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .caption("milliseconds against services of 10 endpoints", ("sans-serif", 18))
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(x.log_scale(), y.log_scale())
        .expect("axes");
    chart.configure_mesh().x_desc("services").y_desc("ms").label_style(("sans-serif", 13)).draw().expect("a mesh");
    for (at, (name, points)) in curves.iter().enumerate() {
        let colour = Palette99::pick(at).to_rgba();
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        let drawn = chart.draw_series(line).expect("a line");
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).label_font(("sans-serif", 13));
    labels.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.4)).draw().expect("labels");
    area.present().expect("the picture can be written");
}
