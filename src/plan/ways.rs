//! The ways in which open cells can be asked for: by point of time, by security, mixed, by range or whole.
//! One walk over a way's pieces both counts its calls and makes its slices, so a run keeps to its plan.

use std::ops::Range;
use std::sync::Arc;

use super::Input;
use super::expect::{self, Member, Members};
use super::timeline::{Depth, Timeline, subtract};
use crate::model::dataset::{Cut, Shape, Universe};
use crate::model::{Area, Exchanges, Offer, Securities, Slice, Span};

/// A stretch of points at which one member has unclaimed cells.
struct Gap {
    member: usize,
    range: Range<usize>,
}

/// Points at which the market is answered but for the securities of some exchanges.
struct Limited {
    lacks: Exchanges,
    /// In order.
    ranges: Vec<Range<usize>>,
}

/// What is open: cells of the wanted securities at due points that no claim holds.
pub struct Open<'a> {
    input: &'a Input<'a>,
    timeline: &'a Timeline<'a>,
    members: &'a [Member],
    gaps: Vec<Gap>,
    /// Open cells by point; 1 for an open point of a dataset about nobody in particular.
    pub counts: Vec<u64>,
    /// Points that lie in a claim that went stale.
    pub stale: Vec<bool>,
    rows: Vec<f64>,
}

/// One way to ask; numbers are indices into the offer's cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Points {
        cut: usize,
    },
    Securities {
        cut: usize,
    },
    /// Points with at least so many open cells by point, the rest by security.
    Mixed {
        points: usize,
        securities: usize,
        at_least: u64,
    },
    Range {
        cut: usize,
    },
    Whole {
        cut: usize,
    },
}

/// One slice, before it is built.
struct Piece {
    member: Option<usize>,
    span: Span,
    cut: usize,
    calls: u64,
    rows: u64,
}

/// What a way costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    pub calls: u64,
    pub rows: u64,
}

impl<'a> Open<'a> {
    pub fn new(input: &'a Input<'a>, timeline: &'a Timeline<'a>, members: &'a Members) -> Open<'a> {
        let len = timeline.points.len();
        let (dataset, knowledge) = (input.dataset, input.knowledge);
        let rows = timeline.points.iter().map(|day| expect::market_rows(dataset, knowledge, *day));
        let mut open = Open {
            input,
            timeline,
            members: &members.members,
            gaps: Vec::new(),
            counts: vec![0; len],
            stale: vec![false; len],
            rows: rows.collect(),
        };
        let mut held = Depth::new(len);
        let mut stale = Depth::new(len);
        let mut limited = Vec::new();
        for claim in input.coverage.market.iter().filter(|_| !input.wanted.force) {
            let range = timeline.held(claim);
            stale.add(&(range.end..timeline.answered(claim).end));
            if claim.lacks.is_among(&input.offer.lacks_exchanges) {
                held.add(&range);
            } else if !timeline.timeless && !members.members.is_empty() {
                limit(&mut limited, &claim.lacks, range);
            }
        }
        let held = held.sum();
        let anybody = members.members.is_empty() && members.unknown.is_empty();
        let cells = if anybody { vec![1; len] } else { open.collect_gaps(&held, &limited, &mut stale).sum() };
        open.counts = cells.into_iter().zip(&held).map(|(cells, held)| if *held > 0 { 0 } else { cells }).collect();
        open.stale = stale.sum().into_iter().map(|depth| depth > 0).collect();
        open
    }

    /// Finds every member's gaps: its life without its own claims, where the market's claims leave anything open.
    fn collect_gaps(&mut self, held: &[u64], limited: &[Limited], stale: &mut Depth) -> Depth {
        let open_before: Vec<u32> = std::iter::once(0)
            .chain(held.iter().scan(0, |sum, depth| {
                *sum += u32::from(*depth == 0);
                Some(*sum)
            }))
            .collect();
        let mut depth = Depth::new(held.len());
        for (member, Member { code, life }) in self.members.iter().enumerate() {
            let claims = self.input.coverage.security.get(code).filter(|_| !self.input.wanted.force);
            let own = claims.into_iter().flatten().map(|claim| {
                let range = self.timeline.held(claim);
                stale.add(&(range.end..self.timeline.answered(claim).end));
                range
            });
            let spoken_of = limited.iter().filter(|limited| !limited.lacks.contains(code));
            let mut answered: Vec<Range<usize>> =
                own.chain(spoken_of.flat_map(|limited| limited.ranges.iter().cloned())).collect();
            if !limited.is_empty() {
                answered.sort_unstable_by_key(|range| range.start);
            }
            let gaps = &mut self.gaps;
            subtract(self.timeline.range(*life), answered.into_iter(), |range| {
                if open_before[range.end] > open_before[range.start] {
                    depth.add(&range);
                    gaps.push(Gap { member, range });
                }
            });
        }
        depth
    }

    /// Every way that the offer and the cells allow, in the order of the offer.
    pub fn ways(&self) -> Vec<Way> {
        let cuts = self.input.offer.cuts.iter().enumerate();
        let by_security = !self.members.is_empty();
        let mut ways: Vec<Way> = cuts
            .filter_map(|(cut, kind)| match kind {
                Cut::Day { .. } | Cut::Period { .. } => (!self.timeline.timeless).then_some(Way::Points { cut }),
                Cut::Range { .. } => (!self.timeline.timeless).then_some(Way::Range { cut }),
                Cut::Security { .. } => by_security.then_some(Way::Securities { cut }),
                Cut::Whole => Some(Way::Whole { cut }),
            })
            .collect();
        ways.extend(self.mixed_ways(&ways));
        ways
    }

    /// Thresholds halve from the fullest point down: a handful of candidates finds any clear division between
    /// days that nearly everybody misses and stretches that a few securities miss.
    fn mixed_ways(&self, ways: &[Way]) -> Vec<Way> {
        let points = ways.iter().find_map(|way| if let Way::Points { cut } = way { Some(*cut) } else { None });
        let securities = ways.iter().find_map(|way| if let Way::Securities { cut } = way { Some(*cut) } else { None });
        let (Some(points), Some(securities)) = (points, securities) else { return Vec::new() };
        let most = self.counts.iter().max().copied().unwrap_or(0);
        let least = self.counts.iter().filter(|count| **count > 0).min().copied().unwrap_or(0);
        let thresholds = std::iter::successors(Some(most), |threshold| Some(threshold / 2));
        let thresholds = thresholds.take_while(|threshold| *threshold > least.max(1));
        thresholds.map(|at_least| Way::Mixed { points, securities, at_least }).collect()
    }

    pub fn cost(&self, way: Way) -> Cost {
        let mut cost = Cost::default();
        self.pieces(way, &mut |piece| {
            cost.calls += piece.calls;
            cost.rows += piece.rows;
        });
        cost
    }

    pub fn slices(&self, way: Way) -> Vec<Slice> {
        let dataset: Arc<str> = Arc::from(self.input.dataset.name.as_str());
        let mut slices = Vec::new();
        self.pieces(way, &mut |piece| {
            let securities = match piece.member {
                Some(member) => Securities::one(self.members[member].code.clone()),
                None => Securities::All,
            };
            slices.push(Slice {
                dataset: dataset.clone(),
                area: Area::new(securities, piece.span),
                cut: piece.cut,
                calls: u32::try_from(piece.calls).unwrap_or(u32::MAX),
                rows: piece.rows,
            });
        });
        slices
    }

    /// Walks over the pieces of a way, oldest first; by security: by code, then time.
    fn pieces(&self, way: Way, emit: &mut impl FnMut(Piece)) {
        match way {
            Way::Points { cut } => self.by_point(cut, 1, emit),
            Way::Securities { cut } => self.by_security(cut, u64::MAX, emit),
            Way::Mixed { points, securities, at_least } => {
                self.by_point(points, at_least, emit);
                self.by_security(securities, at_least, emit);
            }
            Way::Range { cut } => self.by_range(cut, emit),
            Way::Whole { cut } => self.whole(cut, emit),
        }
    }

    fn by_point(&self, cut: usize, at_least: u64, emit: &mut impl FnMut(Piece)) {
        for (index, count) in self.counts.iter().enumerate() {
            if *count >= at_least {
                let span = Span::day(self.timeline.points[index]);
                emit(self.piece(None, span, cut, self.rows[index]));
            }
        }
    }

    /// Asks every member for its open cells at points with fewer than `below` of them. Cells that are claimed but
    /// lie between open ones are asked again where that saves a call.
    fn by_security(&self, cut: usize, below: u64, emit: &mut impl FnMut(Piece)) {
        let neighbours = Neighbours::new(&self.counts, below);
        let rows = expect::security_rows(self.input.dataset, self.input.knowledge, self.input.now.day());
        let bounded = matches!(self.input.offer.cuts.get(cut), Some(Cut::Security { from: Some(_), to: Some(_), .. }));
        let bounded = bounded && !self.timeline.timeless;
        let points_max = if bounded { self.points_below_cap(rows) } else { usize::MAX };
        let mut window: Option<(usize, Range<usize>)> = None;
        let mut close = |window: Option<(usize, Range<usize>)>| {
            let Some((member, range)) = window else { return };
            let span = if bounded { self.span(&range) } else { Span::ALL };
            let points = if bounded { range.len() } else { self.timeline.range(self.members[member].life).len() };
            emit(self.piece(Some(member), span, cut, points as f64 * rows));
        };
        for gap in &self.gaps {
            let mut index = neighbours.next(gap.range.start);
            while index < gap.range.end {
                match &mut window {
                    Some((member, range)) if *member == gap.member && index - range.start < points_max => {
                        let last = (gap.range.end - 1).min(range.start.saturating_add(points_max - 1));
                        range.end = neighbours.previous(last) + 1;
                        index = neighbours.next(range.end);
                    }
                    _ => close(window.replace((gap.member, index..index + 1))),
                }
            }
        }
        close(window);
    }

    fn span(&self, range: &Range<usize>) -> Span {
        Span::new(self.timeline.points[range.start], self.timeline.points[range.end - 1])
    }

    /// The longest spans from open point to open point that stay under the cap; half of it where the rows of a
    /// point are an estimate.
    fn by_range(&self, cut: usize, emit: &mut impl FnMut(Piece)) {
        let dataset = self.input.dataset;
        let varies = dataset.shape == Shape::Sparse && dataset.universe != Universe::Market;
        let cap = if varies { self.cap() / 2.0 } else { self.cap() };
        let mut window: Option<(Range<usize>, f64)> = None;
        let mut rows_between = 0.0;
        let mut close = |window: Option<(Range<usize>, f64)>| {
            let Some((range, rows)) = window else { return };
            emit(self.piece(None, self.span(&range), cut, rows));
        };
        for (index, rows) in self.rows.iter().copied().enumerate() {
            if self.counts[index] == 0 {
                rows_between += rows;
                continue;
            }
            match &mut window {
                Some((range, sum)) if (*sum + rows_between + rows) < cap => {
                    range.end = index + 1;
                    *sum += rows_between + rows;
                }
                _ => close(window.replace((index..index + 1, rows))),
            }
            rows_between = 0.0;
        }
        close(window);
    }

    fn whole(&self, cut: usize, emit: &mut impl FnMut(Piece)) {
        if self.counts.iter().any(|count| *count > 0) {
            emit(self.piece(None, Span::ALL, cut, self.rows.iter().sum()));
        }
    }

    fn piece(&self, member: Option<usize>, span: Span, cut: usize, rows: f64) -> Piece {
        Piece { member, span, cut, calls: calls(self.input.offer, rows), rows: rows.round() as u64 }
    }

    /// Rows at which one slice fills a page, all facets together.
    fn cap(&self) -> f64 {
        let facets = f64::from(self.input.offer.calls_per_slice.max(1));
        self.input.offer.row_cap.map_or(f64::INFINITY, |cap| f64::from(cap.max(1)) * facets)
    }

    fn points_below_cap(&self, rows_per_point: f64) -> usize {
        let points = ((self.cap() - 1.0) / rows_per_point.max(f64::MIN_POSITIVE)).floor();
        (points.min(1e9) as usize).max(1)
    }
}

/// Adds a range to those of the same exchanges; ranges come in order.
fn limit(limited: &mut Vec<Limited>, lacks: &Exchanges, range: Range<usize>) {
    let index = limited.iter().position(|known| known.lacks == *lacks).unwrap_or_else(|| {
        limited.push(Limited { lacks: lacks.clone(), ranges: Vec::new() });
        limited.len() - 1
    });
    let ranges = &mut limited[index].ranges;
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// Calls for a slice of `rows`: pages times facets. A full page is not an answer, so rows at the cap take two.
pub fn calls(offer: &Offer, rows: f64) -> u64 {
    let facets = u64::from(offer.calls_per_slice.max(1));
    let Some(cap) = offer.row_cap else { return facets };
    let rows_per_facet = rows.round() as u64 / facets;
    facets * (rows_per_facet / u64::from(cap.max(1)) + 1)
}

/// For each index, the nearest point at or around it that is asked by security.
struct Neighbours {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Neighbours {
    fn new(counts: &[u64], below: u64) -> Neighbours {
        let asked = |index: usize| counts[index] > 0 && counts[index] < below;
        let mut next = vec![usize::MAX; counts.len()];
        let mut previous = vec![0; counts.len()];
        let mut nearest = usize::MAX;
        for index in (0..counts.len()).rev() {
            nearest = if asked(index) { index } else { nearest };
            next[index] = nearest;
        }
        let mut nearest = 0;
        for (index, previous) in previous.iter_mut().enumerate() {
            nearest = if asked(index) { index } else { nearest };
            *previous = nearest;
        }
        Neighbours { next, previous }
    }

    fn next(&self, index: usize) -> usize {
        self.next.get(index).copied().unwrap_or(usize::MAX)
    }

    fn previous(&self, index: usize) -> usize {
        self.previous[index]
    }
}

/// What a way is called in the plan's reason.
pub fn label(way: Way, offer: &Offer) -> String {
    let name = |cut: usize| offer.cuts.get(cut).map_or("unknown", Cut::name);
    match way {
        Way::Points { cut } | Way::Securities { cut } | Way::Range { cut } => format!("by {}", name(cut)),
        Way::Mixed { points, securities, .. } => format!("by {} and by {}", name(points), name(securities)),
        Way::Whole { .. } => "as a whole".into(),
    }
}
