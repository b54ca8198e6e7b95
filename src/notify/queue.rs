//! What waits for one subscription, as far as it is held in memory: the events of a key one after the other, keys beside
//! each other. A value that is moved by what happens; nothing is read or sent here.
//!
//! The store has everything. The queue holds a bounded number of deliveries, and knows what it left in the store: what
//! comes after `read_to`, and of each key what is beyond its share.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::model::{Delivery, DeliveryState, Instant};

/// A delivery that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub event: u64,
    /// As it is stored; empty: no order.
    pub key: Arc<str>,
    pub due_at: Instant,
    pub attempts: u32,
    pub by: Arc<str>,
}

impl Entry {
    pub fn of(delivery: &Delivery) -> Entry {
        Entry {
            event: delivery.event,
            key: delivery.key.as_str().into(),
            due_at: delivery.due_at,
            attempts: delivery.attempts,
            by: delivery.by.as_str().into(),
        }
    }

    /// Under which it is held: deliveries without order stand alone.
    fn place(&self) -> Arc<str> {
        if self.key.is_empty() { format!("\0{}", self.event).into() } else { self.key.clone() }
    }
}

/// What the queue would like to have from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The next deliveries after this event.
    After(u64),
    /// Those of a key after this event.
    Key { key: Arc<str>, after: u64 },
}

#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Deliveries that are held in memory.
    pub held: usize,
    /// Those of one key.
    pub held_per_key: usize,
}

#[derive(Debug, Default)]
struct Line {
    entries: VecDeque<Entry>,
    /// So many of the first are under way.
    in_flight: usize,
    /// A dead delivery of this event holds the key up.
    blocked_by: Option<u64>,
    /// The first event of the key that is only in the store.
    left: Option<u64>,
}

#[derive(Debug)]
pub struct Queue {
    options: QueueOptions,
    lines: HashMap<Arc<str>, Line>,
    /// The first of each line that may go out, by due time and event.
    heads: BTreeSet<(Instant, u64, Arc<str>)>,
    held: usize,
    /// Up to here everything in the store is held, or left for its key.
    read_to: u64,
    /// Nothing is in the store beyond `read_to`.
    whole: bool,
    /// Under way while the store was changed: what becomes of them is read there.
    doubtful: BTreeSet<u64>,
}

impl Queue {
    /// Empty, with everything left in the store.
    pub fn new(options: QueueOptions) -> Queue {
        let options = QueueOptions { held: options.held.max(2), held_per_key: options.held_per_key.max(1) };
        let (lines, heads, doubtful) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        Queue { options, lines, heads, held: 0, read_to: 0, whole: false, doubtful }
    }

    /// Forgets all but what is under way: the store is read anew.
    pub fn reread(&mut self) {
        self.heads.clear();
        self.lines.retain(|_, line| {
            line.entries.truncate(line.in_flight);
            (line.blocked_by, line.left) = (None, None);
            line.in_flight > 0
        });
        self.held = self.lines.values().map(|line| line.entries.len()).sum();
        self.doubtful.extend(self.lines.values().flat_map(|line| line.entries.iter().map(|entry| entry.event)));
        (self.read_to, self.whole) = (0, false);
    }

    /// More waits in the store than the queue was told of.
    pub fn fell_behind(&mut self) {
        self.whole = false;
    }

    /// Whether nothing waits, neither here nor in the store.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.whole && self.held == 0 && self.lines.values().all(|line| line.left.is_none())
    }

    /// What was matched just now: events up to `to`. What the store was read beyond already is not taken again.
    pub fn matched(&mut self, entries: impl IntoIterator<Item = Entry>, to: u64) {
        if !self.whole {
            return;
        }
        for entry in entries.into_iter().filter(|entry| entry.event > self.read_to).collect::<Vec<_>>() {
            if self.held >= self.options.held {
                // This one and what follows stay in the store.
                (self.whole, self.read_to) = (false, entry.event - 1);
                return;
            }
            self.take(entry);
        }
        self.read_to = self.read_to.max(to);
    }

    /// A page of the store after `Want::After`; `whole`: there was no more.
    pub fn page(&mut self, deliveries: &[Delivery], whole: bool) {
        for delivery in deliveries {
            self.read_to = self.read_to.max(delivery.event);
            match delivery.state {
                DeliveryState::Waiting => self.take(Entry::of(delivery)),
                DeliveryState::Dead => self.block(delivery),
                DeliveryState::Parked => {}
            }
        }
        self.whole = whole;
    }

    /// A page of one key; `whole`: there was no more.
    pub fn key_page(&mut self, key: &Arc<str>, deliveries: &[Delivery], whole: bool) {
        if let Some(line) = self.lines.get_mut(key) {
            line.left = None;
        }
        for delivery in deliveries {
            match delivery.state {
                DeliveryState::Waiting => self.take(Entry::of(delivery)),
                DeliveryState::Dead => self.block(delivery),
                DeliveryState::Parked => {}
            }
        }
        let Some(line) = self.lines.get_mut(key) else { return };
        if !whole && line.left.is_none() {
            line.left = deliveries.last().map(|last| last.event + 1);
        }
        if line.entries.is_empty() && line.left.is_none() && line.is_free() {
            self.lines.remove(key);
        }
    }

    /// What to read from the store now; `None`: nothing.
    pub fn want(&self) -> Option<Want> {
        let starved = |(_, line): &(&Arc<str>, &Line)| line.entries.is_empty() && line.left.is_some() && line.is_free();
        if let Some((key, line)) = self.lines.iter().find(starved) {
            return Some(Want::Key { key: key.clone(), after: line.left.unwrap_or(1) - 1 });
        }
        (!self.whole && self.held <= self.options.held / 2).then_some(Want::After(self.read_to))
    }

    fn block(&mut self, delivery: &Delivery) {
        if delivery.key.is_empty() {
            return;
        }
        let key: Arc<str> = delivery.key.as_str().into();
        self.line_dies(&key, delivery.event);
    }

    fn take(&mut self, entry: Entry) {
        let place = entry.place();
        let line = self.lines.entry(place.clone()).or_default();
        if line.entries.iter().any(|held| held.event == entry.event) {
            return;
        }
        let beyond = line.left.is_some_and(|left| entry.event >= left);
        let full = line.entries.len() >= self.options.held_per_key;
        if line.blocked_by.is_some() || beyond || full {
            line.left = Some(line.left.map_or(entry.event, |left| left.min(entry.event)));
            return;
        }
        let head = line.entries.front().map(|head| (head.due_at, head.event));
        let at = line.entries.iter().position(|held| held.event > entry.event).unwrap_or(line.entries.len());
        // What is under way stays in front.
        let at = at.max(line.in_flight);
        line.entries.insert(at, entry);
        self.held += 1;
        if at == 0 {
            if let Some((due_at, event)) = head {
                self.heads.remove(&(due_at, event, place.clone()));
            }
            self.show_head(&place);
        }
    }

    fn show_head(&mut self, place: &Arc<str>) {
        let Some(line) = self.lines.get(place) else { return };
        match line.entries.front() {
            Some(head) if line.is_free() => {
                self.heads.insert((head.due_at, head.event, place.clone()));
            }
            None if line.left.is_none() && line.blocked_by.is_none() => {
                self.lines.remove(place);
            }
            _ => {}
        }
    }

    /// When the next one may go out.
    pub fn next_at(&self) -> Option<Instant> {
        self.heads.first().map(|(due_at, _, _)| *due_at)
    }

    /// The first that is due; it is under way from now on.
    pub fn start(&mut self, now: Instant) -> Option<Entry> {
        let first = self.heads.first().filter(|(due_at, _, _)| *due_at <= now)?.clone();
        self.heads.remove(&first);
        let line = self.lines.get_mut(&first.2)?;
        line.in_flight = 1;
        line.entries.front().cloned()
    }

    /// Up to `size` deliveries of whatever keys in the order of their events, for one request: those that failed together
    /// go out together again. `early`: new ones need not be due. They are under way from now on.
    pub fn start_batch(&mut self, now: Instant, size: usize, early: bool) -> Vec<Entry> {
        let due = |entry: &&Entry| entry.due_at <= now || (early && entry.attempts == 0);
        let free = self.lines.values().filter(|line| line.is_free());
        let mut entries: Vec<Entry> = free.flat_map(|line| line.entries.iter().take_while(due).cloned()).collect();
        entries.sort_by_key(|entry| entry.event);
        let Some(first) = entries.iter().find(|entry| entry.attempts > 0).or(entries.first()).cloned() else {
            return Vec::new();
        };
        let fits =
            |entry: &Entry| entry.attempts == first.attempts && (first.attempts == 0 || entry.due_at == first.due_at);
        // What follows an event that stays behind stays behind with it.
        let mut closed: BTreeSet<Arc<str>> = BTreeSet::new();
        entries.retain(|entry| {
            let goes = fits(entry) && !closed.contains(&entry.place());
            if !goes {
                closed.insert(entry.place());
            }
            goes
        });
        entries.truncate(size.max(1));
        for entry in &entries {
            let place = entry.place();
            let Some(line) = self.lines.get_mut(&place) else { continue };
            if line.in_flight == 0
                && let Some(head) = line.entries.front()
            {
                self.heads.remove(&(head.due_at, head.event, place));
            }
            line.in_flight += 1;
        }
        entries
    }

    /// New deliveries that a batch could carry now, if it did not wait for its time.
    pub fn fresh(&self) -> usize {
        let lines = self.lines.values().filter(|line| line.is_free());
        lines.map(|line| line.entries.iter().take_while(|entry| entry.attempts == 0).count()).sum()
    }

    /// They are no longer under way.
    fn landed(&mut self, entries: &[Entry]) -> BTreeSet<Arc<str>> {
        let places: BTreeSet<Arc<str>> = entries.iter().map(Entry::place).collect();
        for place in &places {
            if let Some(line) = self.lines.get_mut(place) {
                line.in_flight = 0;
            }
        }
        places
    }

    /// A person may have decided about those of one request while it was under way: then the store is read anew.
    fn doubted(&mut self, entries: &[Entry]) -> bool {
        let doubted = entries.iter().any(|entry| self.doubtful.contains(&entry.event));
        if doubted {
            self.settled(entries);
            self.reread();
        }
        doubted
    }

    /// Those of one request are settled: the next of their keys may go out.
    pub fn settled(&mut self, entries: &[Entry]) {
        let places = self.landed(entries);
        self.doubtful.retain(|event| !entries.iter().any(|entry| entry.event == *event));
        for place in &places {
            let Some(line) = self.lines.get_mut(place) else { continue };
            let before = line.entries.len();
            line.entries.retain(|held| !entries.iter().any(|entry| entry.event == held.event));
            self.held -= before - line.entries.len();
            self.show_head(place);
        }
    }

    /// Those of one request go out again; `counted`: an attempt was made.
    pub fn again(&mut self, entries: &[Entry], at: Instant, counted: bool) {
        if self.doubted(entries) {
            return;
        }
        let places = self.landed(entries);
        for place in &places {
            let Some(line) = self.lines.get_mut(place) else { continue };
            for entry in entries {
                if let Some(held) = line.entries.iter_mut().find(|held| held.event == entry.event) {
                    (held.due_at, held.attempts) = (at, entry.attempts + u32::from(counted));
                }
            }
            self.show_head(place);
        }
    }

    /// Those of one request were not even tried, and go out as they would have.
    pub fn untried(&mut self, entries: &[Entry]) {
        if self.doubted(entries) {
            return;
        }
        for place in self.landed(entries) {
            self.show_head(&place);
        }
    }

    /// Those of one request have no attempt left: their keys wait for a person.
    pub fn died(&mut self, entries: &[Entry]) {
        if self.doubted(entries) {
            return;
        }
        self.landed(entries);
        let (loose, kept): (Vec<Entry>, Vec<Entry>) = entries.iter().cloned().partition(|entry| entry.key.is_empty());
        self.settled(&loose);
        for entry in &kept {
            self.line_dies(&entry.key, entry.event);
        }
    }

    fn line_dies(&mut self, key: &Arc<str>, event: u64) {
        let line = self.lines.entry(key.clone()).or_default();
        if let Some(head) = line.entries.front() {
            self.heads.remove(&(head.due_at, head.event, key.clone()));
        }
        let first_left = line.entries.iter().skip(line.in_flight).map(|held| held.event).find(|held| *held > event);
        line.left = line.left.into_iter().chain(first_left).min();
        self.held -= line.entries.len().saturating_sub(line.in_flight);
        line.entries.truncate(line.in_flight);
        line.blocked_by = Some(line.blocked_by.map_or(event, |blocked| blocked.min(event)));
    }
}

impl Line {
    /// Its first delivery may go out when it is due.
    fn is_free(&self) -> bool {
        self.in_flight == 0 && self.blocked_by.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(event: u64, key: &str) -> Delivery {
        Delivery {
            subscription: "tax".to_owned(),
            event,
            key: key.to_owned(),
            state: DeliveryState::Waiting,
            due_at: Instant(0),
            attempts: 0,
            by: "feed".to_owned(),
        }
    }

    fn deliveries(rows: &[(u64, &str)]) -> Vec<Delivery> {
        rows.iter().map(|(event, key)| delivery(*event, key)).collect()
    }

    fn queue(held: usize, held_per_key: usize, rows: &[(u64, &str)]) -> Queue {
        let mut queue = Queue::new(QueueOptions { held, held_per_key });
        queue.page(&deliveries(rows), true);
        queue
    }

    fn started(queue: &mut Queue, now: i64) -> Vec<Entry> {
        std::iter::from_fn(|| queue.start(Instant(now))).collect()
    }

    fn numbers(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.event).collect()
    }

    #[test]
    fn one_of_a_key_is_under_way_and_keys_do_not_wait_for_each_other() {
        let mut queue = queue(100, 100, &[(1, "a"), (2, "a"), (3, "b"), (4, ""), (5, ""), (6, "b")]);
        let first = started(&mut queue, 0);
        assert_eq!(numbers(&first), [1, 3, 4, 5]);
        queue.again(&first[..1], Instant(50), true);
        queue.settled(&first[1..2]);
        assert_eq!(numbers(&started(&mut queue, 49)), [6], "2 waits behind 1");
        let again = started(&mut queue, 50);
        assert_eq!((again[0].event, again[0].attempts), (1, 1));
        queue.settled(&again);
        assert_eq!(numbers(&started(&mut queue, 50)), [2]);
        assert!(!queue.is_empty());
    }

    #[test]
    fn a_dead_delivery_holds_its_key_and_nothing_else_until_the_store_is_read_anew() {
        let mut queue = queue(100, 100, &[(1, "a"), (2, "a"), (3, "b"), (4, "")]);
        let first = started(&mut queue, 0);
        queue.died(&first);
        assert!(started(&mut queue, 9).is_empty() && queue.want().is_none());
        queue.matched([Entry::of(&delivery(7, "a")), Entry::of(&delivery(8, "c"))], 9);
        assert_eq!(numbers(&started(&mut queue, 9)), [8]);
        queue.reread();
        assert_eq!(queue.want(), Some(Want::After(0)));
        queue.page(&deliveries(&[(1, "a"), (2, "a"), (7, "a"), (8, "c")]), true);
        assert_eq!(numbers(&started(&mut queue, 9)), [1], "8 is still under way");
        let dead = Delivery { state: DeliveryState::Dead, ..delivery(1, "k") };
        let parked = Delivery { state: DeliveryState::Parked, ..delivery(3, "p") };
        queue = Queue::new(QueueOptions { held: 9, held_per_key: 9 });
        queue.page(&[dead, delivery(2, "k"), parked, delivery(4, "p")], true);
        assert_eq!(numbers(&started(&mut queue, 9)), [4]);
    }

    #[test]
    fn what_memory_has_no_room_for_stays_in_the_store_and_is_read_when_there_is_room() {
        let all: Vec<Delivery> = (1..=12).map(|event| delivery(event, if event % 2 == 0 { "a" } else { "" })).collect();
        let mut queue = Queue::new(QueueOptions { held: 4, held_per_key: 2 });
        let mut seen = Vec::new();
        for _ in 0..200 {
            match queue.want() {
                Some(Want::After(after)) => {
                    let page: Vec<_> = all.iter().filter(|row| row.event > after).take(4).cloned().collect();
                    queue.page(&page, page.len() < 4);
                }
                Some(Want::Key { key, after }) => {
                    let of_key = |row: &&Delivery| row.event > after && *row.key == *key;
                    let page: Vec<_> = all.iter().filter(of_key).take(2).cloned().collect();
                    queue.key_page(&key, &page, page.len() < 2);
                }
                None => {}
            }
            if let Some(entry) = queue.start(Instant(0)) {
                seen.push(entry.event);
                queue.settled(&[entry]);
            }
        }
        let of_key: Vec<u64> = seen.iter().copied().filter(|event| event % 2 == 0).collect();
        assert_eq!(of_key, [2, 4, 6, 8, 10, 12], "the order of the key holds");
        seen.sort_unstable();
        assert_eq!(seen, (1..=12).collect::<Vec<_>>(), "each once");
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_read_from_the_store_is_not_taken_again_when_it_is_told() {
        let mut queue = queue(100, 100, &[(5, "a")]);
        let first = started(&mut queue, 0);
        queue.settled(&first);
        queue.matched([Entry::of(&delivery(5, "a")), Entry::of(&delivery(6, "a"))], 6);
        assert_eq!(numbers(&started(&mut queue, 0)), [6]);
        queue.fell_behind();
        queue.matched([Entry::of(&delivery(8, "a"))], 8);
        assert_eq!(queue.want(), Some(Want::After(6)), "the store has what was missed");
    }

    #[test]
    fn what_a_person_decides_during_an_attempt_is_read_from_the_store() {
        let mut queue = queue(100, 100, &[(1, "a"), (2, "a"), (3, "b")]);
        let first = started(&mut queue, 0);
        queue.reread();
        queue.page(&deliveries(&[(2, "a"), (3, "b")]), true);
        queue.again(&first[..1], Instant(5), true);
        assert_eq!(queue.want(), Some(Want::After(0)), "1 was skipped meanwhile");
        queue.page(&deliveries(&[(2, "a"), (3, "b")]), true);
        assert_eq!(numbers(&started(&mut queue, 9)), [2], "3 is under way");
        queue.settled(&first[1..]);
        assert!(queue.doubtful.is_empty());
    }

    #[test]
    fn an_older_event_that_comes_later_goes_first_in_its_key() {
        let mut queue = queue(100, 100, &[(5, "a"), (6, "a")]);
        queue.page(&[delivery(2, "a")], true);
        let first = started(&mut queue, 0);
        assert_eq!(numbers(&first), [2]);
        queue.page(&[delivery(1, "a")], true);
        queue.settled(&first);
        assert_eq!(numbers(&started(&mut queue, 0)), [1]);
    }

    #[test]
    fn a_batch_keeps_the_order_of_keys_and_what_failed_together_stays_together() {
        let mut queue = queue(100, 100, &[(1, "a"), (2, "b"), (3, "a"), (4, ""), (5, "c")]);
        assert_eq!(queue.fresh(), 5);
        let first = queue.start_batch(Instant(0), 3, false);
        assert_eq!(numbers(&first), [1, 2, 3]);
        queue.again(&first, Instant(50), true);
        queue.matched([Entry::of(&delivery(6, "a"))], 6);
        let second = queue.start_batch(Instant(10), 9, false);
        assert_eq!(numbers(&second), [4, 5]);
        queue.settled(&second);
        queue.matched([Entry::of(&delivery(7, "d"))], 7);
        assert_eq!(numbers(&queue.start_batch(Instant(50), 9, false)), [1, 2, 3], "as it was sent first");
        queue.died(&first);
        assert_eq!(numbers(&queue.start_batch(Instant(50), 9, false)), [7], "6 waits behind the dead ones");
        let mut late = Delivery { due_at: Instant(99), ..delivery(1, "a") };
        late.attempts = 0;
        let mut queue = Queue::new(QueueOptions { held: 9, held_per_key: 9 });
        queue.page(&[late], true);
        assert!(queue.start_batch(Instant(0), 9, false).is_empty());
        assert_eq!(queue.start_batch(Instant(0), 9, true).len(), 1, "a full one need not wait");
    }
}
