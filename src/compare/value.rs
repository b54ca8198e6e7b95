//! Cells of two sides as values that can be compared: exact where they are decimals, as doubles where ratios count.

use crate::check::Cells;
use crate::model::decimal;

/// A number, exact when it is one: `units x 10^-scale`.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    exact: Option<(i128, i8)>,
    pub double: f64,
}

impl Number {
    /// `None` for a missing value, and for cells that are no numbers.
    pub fn of(cells: &Cells, row: usize) -> Option<Number> {
        let double = cells.number(row)?;
        let exact = match cells {
            Cells::Decimal(array, scale) => Some((array.value(row), *scale)),
            Cells::Int(array) => Some((i128::from(array.value(row)), 0)),
            _ => None,
        };
        Some(Number { exact, double })
    }

    pub fn equals(&self, other: &Number) -> bool {
        match (self.exact, other.exact) {
            (Some((one, scale)), Some((two, other_scale))) => {
                let common = scale.max(other_scale);
                rescaled(one, scale, common).is_some_and(|one| rescaled(two, other_scale, common) == Some(one))
            }
            _ => self.double == other.double,
        }
    }

    /// The power of ten that its last digit other than 0 stands for; `None` for zero and for doubles.
    pub fn last_digit(&self) -> Option<i32> {
        let (mut units, scale) = self.exact.filter(|(units, _)| *units != 0)?;
        let mut power = -i32::from(scale);
        while units % 10 == 0 {
            units /= 10;
            power += 1;
        }
        Some(power)
    }

    pub fn text(&self) -> String {
        self.exact.map_or_else(|| self.double.to_string(), |(units, scale)| decimal::to_text(units, scale))
    }
}

fn rescaled(units: i128, scale: i8, to: i8) -> Option<i128> {
    units.checked_mul(10i128.checked_pow(u32::from((to - scale).unsigned_abs()))?)
}
