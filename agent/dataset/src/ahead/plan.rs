//! Which files to bring in before they are opened: pure bookkeeping, one [`Orders`] per Dataset.

use std::collections::VecDeque;
use std::ops::Range;

/// Orders that are followed at a time.
const ORDERS: usize = 16;
/// Files of an order that are remembered to tell its step.
const RECENT: usize = 8;
/// Files that must have been opened before there is an order.
const SEEN: usize = 4;
/// An open this many steps from the last one of an order may still belong to it: several threads take turns.
const NEAR: u32 = 64;
/// Files that are ahead at first and at most.
const FIRST: u32 = 4;
const MOST: u32 = 64;

/// The orders in which files are being opened, by directory. Positions are those of the files in the generation's catalog,
/// where a directory's entries stand one after another, sorted.
#[derive(Debug, Default)]
pub(super) struct Orders {
    orders: Vec<Order>,
    clock: u64,
}

/// One run of opens through a directory, by one thread or by several: each `step`th file, in any order near the front.
#[derive(Debug)]
struct Order {
    generation: u32,
    dir: u32,
    /// The last files opened.
    recent: VecDeque<u32>,
    /// From file to file, as far as is known.
    step: u32,
    /// Files up to here are on their way or there.
    reached: u32,
    /// Files ahead. Nothing is ahead before there is an order.
    window: u32,
    opened: u32,
    /// It came to the directory's end, and none has gone on from there in another directory.
    ended: bool,
    used: u64,
}

/// What to bring in: each `step`th position of `range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ahead {
    pub(super) range: Range<u32>,
    pub(super) step: u32,
}

impl Orders {
    /// Notes that the file at `at` was opened, in a directory with the files `files`; tells what to bring in now. Never more than four
    /// times as many files as were opened in that order, and none while they are opened at random.
    pub(super) fn on_open(&mut self, generation: u32, dir: u32, files: Range<u32>, at: u32) -> Option<Ahead> {
        self.clock += 1;
        let is_it = |order: &Order| order.generation == generation && order.dir == dir && order.is_near(at);
        let known = self.orders.iter().position(is_it).unwrap_or_else(|| {
            let (step, window) = self.goes_on(generation, &files, at).unwrap_or((0, 0));
            let recent = VecDeque::new();
            let new = Order { generation, dir, recent, step, reached: at, window, opened: 0, ended: false, used: 0 };
            self.add(new)
        });
        let order = &mut self.orders[known];
        order.used = self.clock;
        order.note(at);
        let Some((front, step)) = order.course() else {
            (order.step, order.ended) = (0, false);
            return None;
        };
        order.ended |= front.saturating_add(step) >= files.end;
        if order.step != step {
            (order.step, order.window, order.reached) = (step, 0, front);
        }
        order.reached = order.reached.max(front);
        if (order.reached - front) / step > order.window / 2 {
            return None;
        }
        order.window = order.window.saturating_mul(2).clamp(FIRST, MOST);
        let from = order.reached + step;
        order.reached = front.saturating_add(order.window.saturating_mul(step));
        let range = from..order.reached.saturating_add(1).min(files.end);
        (!range.is_empty()).then_some(Ahead { range, step })
    }

    /// Of what was planned for a directory, only what is before `at` was begun: the rest is to be planned again.
    pub(super) fn begun_before(&mut self, generation: u32, dir: u32, at: u32) {
        let order =
            self.orders.iter_mut().find(|order| order.generation == generation && order.dir == dir && order.reached >= at);
        if let Some(order) = order {
            order.reached = at.saturating_sub(order.step);
        }
    }

    /// Whoever has opened one directory's files to the end and opens another's first one goes on as before: step and files ahead,
    /// not more than were opened there.
    fn goes_on(&mut self, generation: u32, files: &Range<u32>, at: u32) -> Option<(u32, u32)> {
        let from = |order: &&mut Order| {
            order.ended && order.generation == generation && at.saturating_sub(files.start) / order.step < SEEN as u32
        };
        let order = self.orders.iter_mut().filter(from).max_by_key(|order| order.used)?;
        order.ended = false;
        // Half of it, which is doubled at once.
        Some((order.step, order.opened.min(MOST) / 2))
    }

    /// Where it now stands.
    fn add(&mut self, order: Order) -> usize {
        if self.orders.len() < ORDERS {
            self.orders.push(order);
            return self.orders.len() - 1;
        }
        let oldest = self.orders.iter().enumerate().min_by_key(|(_, order)| order.used).map_or(0, |(place, _)| place);
        self.orders[oldest] = order;
        oldest
    }
}

impl Order {
    fn is_near(&self, at: u32) -> bool {
        self.recent.iter().any(|seen| seen.abs_diff(at) <= NEAR)
    }

    fn note(&mut self, at: u32) {
        if self.recent.contains(&at) {
            return;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        self.opened = self.opened.saturating_add(1);
    }

    /// The file furthest on, and the step from file to file; `None` where the last opens are no order: their common step leaves
    /// more gaps than files. A few may tell nothing yet: then it is as it was begun.
    fn course(&self) -> Option<(u32, u32)> {
        let (first, front) = (self.recent.iter().min()?, self.recent.iter().max()?);
        if self.recent.len() < SEEN {
            return (self.step > 0).then_some((*front, self.step));
        }
        let step = self.recent.iter().fold(0, |step, seen| common(step, seen - first));
        let span = (front - first) / step.max(1) + 1;
        (step > 0 && (span as usize) < 2 * self.recent.len()).then_some((*front, step))
    }
}

/// The greatest common divisor; 0 is divisible by all.
fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

#[cfg(test)]
mod tests;
