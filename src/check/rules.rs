//! The rules that a dataset's policy may name. A rule reads columns by name and is skipped where one is absent.
//!
//! Only what is provably wrong refuses a row; what is merely odd becomes a warning.

use super::columns::{Cells, Columns};
use crate::model::dataset::{Agreement, unit_shift};
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
    pub bind: for<'a> fn(Asked, &Columns<'a>) -> Option<Bound<'a>>,
}

/// What a rule is bound to, beside the columns.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'d> {
    pub dataset: &'d Dataset,
    pub rounding: Rounding,
}

/// How far the figures of a source may lie from the true ones, because it rounds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Shares.
    pub volume: f64,
    /// Yuan.
    pub amount: f64,
}

/// Volumes are published to the share; amounts in thousands of yuan with 3 decimals, and some files carry 2.
const PUBLISHED: Rounding = Rounding { volume: 0.5, amount: 10.0 };

impl Default for Rounding {
    fn default() -> Rounding {
        PUBLISHED
    }
}

impl Rounding {
    /// Of the figures that `source` sends for `dataset`: columns that the catalogue calls rounded are exact to half a
    /// unit of the wire.
    pub fn of(dataset: &Dataset, source: &str) -> Rounding {
        let half = |column: &str| half_unit(dataset, source, column).unwrap_or(0.0);
        Rounding { volume: PUBLISHED.volume.max(half("vol")), amount: PUBLISHED.amount.max(half("amount")) }
    }
}

/// Half the unit to which `source` rounds a column, in the column's own unit; `None` where it does not round.
pub fn half_unit(dataset: &Dataset, source: &str, column: &str) -> Option<f64> {
    let services = match source {
        "baostock" => &dataset.baostock,
        "akshare" => &dataset.akshare,
        _ => return None,
    };
    let served = services.iter().find_map(|service| service.columns.get(column))?;
    let wire = served.unit.as_deref().filter(|_| served.agrees == Agreement::Rounded)?;
    let shift = unit_shift(wire, &dataset.column(column)?.unit)?;
    Some(10f64.powi(i32::from(shift)) / 2.0)
}

/// Whether a row that breaks this rule shows that its units are wrong.
pub fn proves_units(rule: &str) -> bool {
    rule == "vwap_in_range"
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

fn volume_not_null<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let (close, volume) = (columns.get("close")?, columns.get("vol")?);
    Some(Box::new(move |row| (volume.is_null(row) && !close.is_null(row)).then_some("there is a price and no volume")))
}

fn price_range<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let [open, high, low, close] = ["open", "high", "low", "close"].map(|name| columns.get(name));
    let (open, high, low, close) = (open?, high?, low?, close?);
    Some(Box::new(move |row| {
        let [open, high, low, close] = [open, high, low, close].map(|cells| cells.number(row));
        let (highest, lowest) = (high.unwrap_or(f64::INFINITY), low.unwrap_or(0.0));
        if [open, high, low, close].into_iter().flatten().any(|price| price <= 0.0) {
            return Some("a price is not positive");
        }
        let inside = |price: Option<f64>| price.is_none_or(|price| lowest <= price && price <= highest);
        (!inside(open) || !inside(close) || lowest > highest).then_some("open or close lies outside low..high")
    }))
}

/// Half a tick: prices are published to the cent.
const PRICE_ROUNDING_YUAN: f64 = 0.005;
/// `amount / volume` lies between low and high, within what rounding of the three can do: proves units row by row.
/// Doubles are exact enough: what they lose is a millionth of the tolerance.
fn vwap_in_range<'a>(asked: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
    let [volume, amount, low, high] = ["vol", "amount", "low", "high"].map(|name| columns.get(name));
    let (volume, amount, low, high) = (volume?, amount?, low?, high?);
    let rounding = asked.rounding;
    Some(Box::new(move |row| {
        let volume = volume.number(row).filter(|volume| *volume > 0.0)?;
        let (amount, low, high) = (amount.number(row)?, low.number(row)?, high.number(row)?);
        let least = (low - PRICE_ROUNDING_YUAN) * (volume - rounding.volume) - rounding.amount;
        let most = (high + PRICE_ROUNDING_YUAN) * (volume + rounding.volume) + rounding.amount;
        (amount < least || most < amount).then_some("amount / volume lies outside low..high")
    }))
}

fn continuity<'a>(Asked { dataset, .. }: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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

fn report_date_valid<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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
fn indicator_consistency<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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
fn cross_validation<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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

fn code_uniqueness<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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

fn list_date_valid<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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

fn status_consistency<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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

fn sum_matches<'a>(_: Asked, columns: &Columns<'a>) -> Option<Bound<'a>> {
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
