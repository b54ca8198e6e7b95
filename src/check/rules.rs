//! The rules that a dataset's policy may name. A rule reads columns by name and is skipped where one is absent.
//!
//! Only what is provably wrong refuses a row; what is merely odd becomes a warning.

use super::columns::{Cells, Columns};
use crate::model::{Dataset, Day};

/// What happens to a row that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Quarantine,
    Warn,
}

/// A rule bound to the columns of one batch: what is wrong with a row, if anything.
pub type Bound<'a> = Box<dyn Fn(usize) -> Option<&'static str> + 'a>;

pub struct Rule {
    pub name: &'static str,
    pub severity: Severity,
    /// `None` when the batch lacks a column that the rule needs.
    pub bind: for<'a> fn(&Dataset, &Columns<'a>) -> Option<Bound<'a>>,
}

/// Every rule, in the order in which they are applied.
pub const RULES: &[Rule] = &[
    Rule { name: "volume_not_null", severity: Severity::Quarantine, bind: volume_not_null },
    Rule { name: "price_range", severity: Severity::Quarantine, bind: price_range },
    Rule { name: "vwap_in_range", severity: Severity::Quarantine, bind: vwap_in_range },
    Rule { name: "continuity", severity: Severity::Warn, bind: continuity },
    Rule { name: "report_date_valid", severity: Severity::Warn, bind: report_date_valid },
    Rule { name: "indicator_consistency", severity: Severity::Warn, bind: indicator_consistency },
    Rule { name: "cross_validation", severity: Severity::Warn, bind: cross_validation },
    Rule { name: "code_uniqueness", severity: Severity::Warn, bind: code_uniqueness },
    Rule { name: "list_date_valid", severity: Severity::Warn, bind: list_date_valid },
    Rule { name: "status_consistency", severity: Severity::Warn, bind: status_consistency },
    Rule { name: "sum_matches", severity: Severity::Warn, bind: sum_matches },
];

/// Finds a rule by its name, with or without `check_` before it.
pub fn rule(name: &str) -> Option<&'static Rule> {
    let name = name.strip_prefix("check_").unwrap_or(name);
    RULES.iter().find(|rule| rule.name == name)
}

fn volume_not_null<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let (close, volume) = (columns.get("close")?, columns.get("vol")?);
    Some(Box::new(move |row| (volume.is_null(row) && !close.is_null(row)).then_some("there is a price and no volume")))
}

fn price_range<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let [open, high, low, close] = ["open", "high", "low", "close"].map(|name| columns.get(name));
    let [open, high, low, close] = [open?, high?, low?, close?].map(Scaled::of);
    let [open, high, low, close] = [open?, high?, low?, close?];
    Some(Box::new(move |row| {
        let (open, high, low, close) = (open.get(row), high.get(row), low.get(row), close.get(row));
        let (highest, lowest) = (high.unwrap_or(i128::MAX), low.unwrap_or(i128::MIN));
        let inside = |price: Option<i128>| price.is_none_or(|price| lowest <= price && price <= highest);
        if [open, high, low, close].into_iter().flatten().any(|price| price <= 0) {
            return Some("a price is not positive");
        }
        (!inside(open) || !inside(close) || lowest > highest).then_some("open or close lies outside low..high")
    }))
}

/// A decimal column together with its scale.
#[derive(Clone, Copy)]
struct Scaled<'a> {
    cells: &'a arrow_array::Decimal128Array,
    nulls: bool,
    scale: i8,
}

impl<'a> Scaled<'a> {
    fn of(cells: Cells<'a>) -> Option<Scaled<'a>> {
        use arrow_array::Array;
        match cells {
            Cells::Decimal(array, scale) => Some(Scaled { cells: array, nulls: array.null_count() > 0, scale }),
            _ => None,
        }
    }

    fn get(&self, row: usize) -> Option<i128> {
        use arrow_array::Array;
        (!self.nulls || self.cells.is_valid(row)).then(|| self.cells.value(row))
    }
}

/// Half a tick: prices are published to the cent.
const PRICE_ROUNDING_THOUSANDTHS: i128 = 5;
/// Volumes are published to the share.
const VOLUME_ROUNDING_HALVES: i128 = 1;
/// Amounts are published in thousands of yuan with 3 decimals; some files carry 2.
const AMOUNT_ROUNDING_YUAN: i128 = 10;

/// `amount / volume` lies between low and high, within what rounding of the three can do: proves units row by row.
fn vwap_in_range<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let [volume, amount, low, high] = ["vol", "amount", "low", "high"].map(|name| columns.get(name));
    let [volume, amount, low, high] = [volume?, amount?, low?, high?].map(Scaled::of);
    let (volume, amount, low, high) = (volume?, amount?, low?, high?);
    if low.scale != high.scale || [low.scale, volume.scale, amount.scale].iter().any(|scale| !(0..=12).contains(scale))
    {
        return None;
    }
    let ten = |power: i8| 10i128.pow(power.unsigned_abs().into());
    // Compared as whole numbers: prices in thousandths and volumes in halves of their unit, for the tolerances.
    let (price_one, volume_one, amount_one) = (ten(low.scale), ten(volume.scale), ten(amount.scale));
    Some(Box::new(move |row| {
        let (volume, amount) = (volume.get(row)?, amount.get(row)?);
        let (low, high) = (low.get(row)?, high.get(row)?);
        if volume <= 0 {
            return None;
        }
        let traded = amount.saturating_mul(2_000).saturating_mul(price_one).saturating_mul(volume_one);
        let slack = (AMOUNT_ROUNDING_YUAN * 2_000 * price_one).saturating_mul(volume_one).saturating_mul(amount_one);
        let bound = |price: i128, side: i128| {
            let price = price.saturating_mul(1_000) + side * PRICE_ROUNDING_THOUSANDTHS * price_one;
            let volume = volume.saturating_mul(2) + side * VOLUME_ROUNDING_HALVES * volume_one;
            price.max(0).saturating_mul(volume.max(0)).saturating_mul(amount_one)
        };
        let inside = bound(low, -1) <= traded.saturating_add(slack) && traded.saturating_sub(slack) <= bound(high, 1);
        (!inside).then_some("amount / volume lies outside low..high")
    }))
}

fn continuity<'a>(dataset: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let (close, before) = (columns.get("close")?, columns.get("pre_close")?);
    let change = columns.get("change");
    let percent = columns.get("pct_chg").or_else(|| columns.get("pct_change"));
    let unit = dataset.column("pct_chg").or_else(|| dataset.column("pct_change")).map(|column| column.unit.as_str());
    let one = if unit == Some("fraction") { 1.0 } else { 100.0 };
    Some(Box::new(move |row| {
        let (close, before) = (close.number(row)?, before.number(row)?);
        if let Some(change) = change.and_then(|cells| cells.number(row))
            && (change - (close - before)).abs() > 0.0105
        {
            return Some("change is not close - pre_close");
        }
        let percent = percent.and_then(|cells| cells.number(row))?;
        let expected = if before > 0.0 { (close - before) / before * one } else { return None };
        let tolerance = one * (0.0105 / before + 0.000_1);
        ((percent - expected).abs() > tolerance).then_some("pct_chg is not change / pre_close")
    }))
}

fn report_date_valid<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let period = columns.get("end_date")?;
    let (announced, final_announced) = (columns.get("ann_date"), columns.get("f_ann_date"));
    Some(Box::new(move |row| {
        let period = period.day(row)?;
        if !period.is_quarter_end() {
            return Some("end_date is no quarter end");
        }
        let announced = announced.and_then(|cells| cells.day(row));
        let final_announced = final_announced.and_then(|cells| cells.day(row));
        if announced.is_some_and(|day| day <= period) {
            return Some("ann_date is not after end_date");
        }
        announced.zip(final_announced).filter(|(first, last)| last < first).map(|_| "f_ann_date is before ann_date")
    }))
}

/// A ratio that two columns must satisfy together.
fn indicator_consistency<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let margin = columns.get("grossprofit_margin").zip(columns.get("cogs_of_sales"));
    let debt = columns.get("debt_to_assets").zip(columns.get("assets_to_eqt"));
    if margin.is_none() && debt.is_none() {
        return None;
    }
    Some(Box::new(move |row| {
        let pair = |cells: Option<(Cells, Cells)>| cells.and_then(|(a, b)| a.number(row).zip(b.number(row)));
        if pair(margin).is_some_and(|(margin, cost)| (margin + cost - 100.0).abs() > 0.5) {
            return Some("grossprofit_margin and cogs_of_sales do not add up to 100");
        }
        let (debt, leverage) = pair(debt)?;
        let product = (1.0 - debt / 100.0) * leverage;
        (leverage > 0.0 && (product - 1.0).abs() > 0.05).then_some("debt_to_assets and assets_to_eqt disagree")
    }))
}

/// Two figures of one row that say the same in different ways.
fn cross_validation<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let balance = columns.get("total_assets").zip(columns.get("total_liab_hldr_eqy"));
    let signs = columns.get("eps").zip(columns.get("roe"));
    let book = columns.get("bps");
    if balance.is_none() && signs.is_none() {
        return None;
    }
    Some(Box::new(move |row| {
        let pair = |cells: Option<(Cells, Cells)>| cells.and_then(|(a, b)| a.number(row).zip(b.number(row)));
        if pair(balance).is_some_and(|(assets, claims)| (assets - claims).abs() > 1.0 + assets.abs() * 1e-6) {
            return Some("total_assets is not total_liab_hldr_eqy");
        }
        let (earnings, returns) = pair(signs)?;
        let solvent = book.and_then(|cells| cells.number(row)).is_some_and(|book| book > 0.0);
        let opposed = (earnings > 0.01 && returns < -0.1) || (earnings < -0.01 && returns > 0.1);
        (solvent && opposed).then_some("eps and roe have opposite signs")
    }))
}

fn code_uniqueness<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let (code, symbol) = (columns.get("ts_code")?, columns.get("symbol"));
    Some(Box::new(move |row| {
        let code = code.text(row)?;
        let Some((digits, exchange)) = code.split_once('.') else { return Some("ts_code has no exchange") };
        if digits.is_empty() || exchange.is_empty() {
            return Some("ts_code has no digits or no exchange");
        }
        let symbol = symbol.and_then(|cells| cells.text(row))?;
        (symbol != digits).then_some("symbol is not the digits of ts_code")
    }))
}

/// 1990-12-01, when trading in Shenzhen began; Shanghai followed on the 19th.
const FIRST_LISTING: Day = Day(7639);

fn list_date_valid<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let listed = columns.get("list_date")?;
    let (delisted, status) = (columns.get("delist_date"), columns.get("list_status"));
    Some(Box::new(move |row| {
        let status = status.and_then(|cells| cells.text(row)).unwrap_or("L");
        let Some(listed) = listed.day(row) else {
            return matches!(status, "L" | "D").then_some("list_date is missing");
        };
        if listed < FIRST_LISTING {
            return Some("list_date is before there was an exchange");
        }
        let delisted = delisted.and_then(|cells| cells.day(row))?;
        (delisted < listed).then_some("delist_date is before list_date")
    }))
}

fn status_consistency<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let (status, delisted) = (columns.get("list_status")?, columns.get("delist_date")?);
    Some(Box::new(move |row| match (status.text(row)?, delisted.is_null(row)) {
        ("D", true) => Some("delisted and no delist_date"),
        ("L", false) => Some("listed and a delist_date"),
        _ => None,
    }))
}

/// Sums that a row states itself.
const SUMS: &[(&str, [&str; 2])] = &[
    ("rzrqye", ["rzye", "rqye"]),
    ("north_money", ["hgt", "sgt"]),
    ("south_money", ["ggt_ss", "ggt_sz"]),
    ("stk_div", ["stk_bo_rate", "stk_co_rate"]),
];

fn sum_matches<'a>(_: &Dataset, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let find = |(total, parts): &(&str, [&str; 2])| {
        Some((columns.get(total)?, columns.get(parts[0])?, columns.get(parts[1])?))
    };
    let sums: Vec<(Cells, Cells, Cells)> = SUMS.iter().filter_map(find).collect();
    if sums.is_empty() {
        return None;
    }
    Some(Box::new(move |row| {
        let wrong = |(total, first, second): &(Cells, Cells, Cells)| {
            let Some(total) = total.number(row) else { return false };
            let Some((first, second)) = first.number(row).zip(second.number(row)) else { return false };
            (total - first - second).abs() > 1e-4 + total.abs() * 1e-6
        };
        sums.iter().any(wrong).then_some("a total is not the sum of its parts")
    }))
}
