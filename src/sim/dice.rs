//! Random numbers that depend only on the seed and on what is being asked: no state, so no order of questions matters.

/// What a number is drawn for. Each purpose is independent of all others.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum Stream {
    Listing = 1,
    Name,
    Company,
    Halts,
    Renames,
    Dividend,
    Market,
    Start,
    Close,
    Bar,
    Flow,
    Index,
    Limit,
    TopList,
    HotMoney,
    Margin,
    Connect,
    Concept,
    Hot,
    Base,
    Quarter,
    Balance,
    Cash,
    Report,
    Express,
    Forecast,
    Audit,
    Path,
}

/// A small generator (splitmix64) whose start is a hash of seed, stream and two numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl Dice {
    pub fn new(seed: u64, stream: Stream, a: u64, b: u64) -> Dice {
        let start = mix(seed ^ (stream as u64).wrapping_mul(GOLDEN));
        Dice(mix(start ^ mix(a.wrapping_mul(GOLDEN).wrapping_add(b)) ^ b.rotate_left(32)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// From 0 to `bound - 1`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).max(0) as u64 + 1) as i64
    }

    /// True `part` times out of `whole`.
    pub fn chance(&mut self, part: u64, whole: u64) -> bool {
        self.below(whole) < part
    }

    /// From 0 to just under 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Roughly normal with mean 0 and deviation 1, within +-3.5: the sum of four 16-bit uniforms.
    pub fn noise(&mut self) -> f64 {
        let bits = self.next();
        let sum = (0..4).map(|part| ((bits >> (part * 16)) & 0xFFFF) as f64).sum::<f64>();
        (sum / 65_536.0 - 2.0) * 1.732
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_every_part_of_the_question_and_on_nothing_else() {
        let draw = |seed, stream, a, b| Dice::new(seed, stream, a, b).next();
        let one = draw(1, Stream::Close, 2, 3);
        assert_eq!(one, draw(1, Stream::Close, 2, 3));
        for other in [
            draw(2, Stream::Close, 2, 3),
            draw(1, Stream::Bar, 2, 3),
            draw(1, Stream::Close, 3, 3),
            draw(1, Stream::Close, 2, 4),
            draw(1, Stream::Close, 3, 2),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn noise_is_centred_with_deviation_one() {
        let mut dice = Dice::new(7, Stream::Market, 0, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| dice.noise()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
