//! The header of a file against the columns of a dataset: which cell fills which column, in which unit.

use crate::model::dataset::{ColumnType, unit_shift};
use crate::model::{Column, Dataset, Error, Result};

use super::names::{self, ALIASES, SECURITY, TIME};

/// What the user says about columns: `file column=dataset column[:unit]`; an empty dataset column leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    entries: Vec<MappingEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct MappingEntry {
    file_column: String,
    column: Option<String>,
    unit: Option<&'static str>,
}

impl Mapping {
    /// Reads `--map` options.
    pub fn parse<T: AsRef<str>>(options: &[T], dataset: &Dataset) -> Result<Mapping> {
        let entries = options.iter().map(|option| parse_entry(option.as_ref(), dataset));
        Ok(Mapping { entries: entries.collect::<Result<_>>()? })
    }

    fn find(&self, header: &str) -> Option<&MappingEntry> {
        let header = header.trim().trim_start_matches('\u{feff}');
        self.entries.iter().find(|entry| entry.file_column == header)
    }
}

fn parse_entry(option: &str, dataset: &Dataset) -> Result<MappingEntry> {
    let form = "write it as \"file column=dataset column\" or \"file column=dataset column:unit\"";
    let Some((file_column, target)) = option.rsplit_once('=') else {
        return Err(Error::invalid(format!("{option:?} is not a mapping")).hint(form));
    };
    let (column, unit) = match target.split_once(':') {
        Some((column, word)) => {
            let unit = names::unit(word).ok_or_else(|| {
                Error::invalid(format!("{word:?} is not a unit"))
                    .hint("units are lot, share, share_10k, CNY, CNY_1k, CNY_10k, CNY_1m, percent and fraction")
            })?;
            (column.trim(), Some(unit))
        }
        None => (target.trim(), None),
    };
    let file_column = file_column.trim().to_owned();
    if column.is_empty() {
        return Ok(MappingEntry { file_column, column: None, unit: None });
    }
    match dataset.column(column) {
        Some(known) if known.derived.is_none() => {
            Ok(MappingEntry { file_column, column: Some(column.to_owned()), unit })
        }
        _ => Err(unknown_column(dataset, column)),
    }
}

fn unknown_column(dataset: &Dataset, column: &str) -> Error {
    let columns = || dataset.columns.iter().filter(|known| known.derived.is_none());
    let nearest = columns()
        .max_by(|a, b| strsim::jaro_winkler(&a.name, column).total_cmp(&strsim::jaro_winkler(&b.name, column)));
    let error = Error::not_found(format!("{} has no column {column:?}", dataset.name));
    match nearest {
        Some(nearest) => error.hint(format!("did you mean {:?}?", nearest.name)),
        None => error,
    }
}

/// The units of columns that name none themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// Tushare's where the header is Tushare's, else what each name stands for by convention.
    #[default]
    Declared,
    Tushare,
    /// Shares and yuan, as Tidegate stores and exports them.
    Canonical,
}

/// Who wrote the file, as far as units depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Tushare,
    /// A text export of the TDX terminal: a title line, Chinese names, shares and yuan.
    Terminal,
    Other,
}

/// How one dataset column is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Position in the file.
    pub cell: usize,
    /// Powers of ten from the file's unit to the column's.
    pub shift: i8,
}

/// How rows of one file are read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cells of the header.
    pub header: Vec<String>,
    /// For each dataset column.
    pub targets: Vec<Option<Target>>,
    /// Names of file columns that fill nothing.
    pub unmapped: Vec<String>,
    /// The security of every row, when no cell names it.
    pub code: Option<String>,
    /// The cell that says whether the security traded (BaoStock): rows of suspended days are no bars.
    pub trade_status: Option<usize>,
    /// Whether, by the file's own words, its prices are adjusted.
    pub adjustment: Adjustment,
}

/// What a file says of its prices, where they would fill columns of raw prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// Nothing, or nothing that matters here.
    Unsaid,
    /// A cell says it row by row.
    ByCell(usize),
    /// The title says that all are adjusted.
    Adjusted,
}

/// What a plan depends on besides the header.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub dataset: &'a Dataset,
    pub mapping: &'a Mapping,
    pub units: Units,
    /// The security that options, file name or title name.
    pub code: Option<&'a str>,
    /// What stood before the header.
    pub title: Option<&'a str>,
}

/// How many cells of a line look like column names of the dataset: what finds the header among title lines.
pub fn known_names(context: &Context, cells: &[&str]) -> usize {
    let (matches, _) = match_names(context, cells);
    matches.iter().flatten().count() + cells.iter().filter(|cell| context.mapping.find(cell).is_some()).count()
}

/// Plans the reading of a file; `Invalid` when columns that every row needs are missing or units do not convert.
pub fn plan(context: &Context, cells: &[&str]) -> Result<Plan> {
    let dataset = context.dataset;
    let (matches, implied) = match_names(context, cells);
    let style = style_of(context, cells);
    let mut targets = vec![None; dataset.columns.len()];
    for (index, cell) in matches.iter().enumerate().filter_map(|(index, cell)| Some((index, (*cell)?))) {
        let column = &dataset.columns[index];
        let shift = shift_of(context, column, cells[cell], implied[index], style)?;
        targets[index] = Some(Target { cell, shift });
    }
    let used = |cell: usize| matches.contains(&Some(cell));
    let named = cells.iter().enumerate().filter(|(cell, name)| !used(*cell) && !name.trim().is_empty());
    let unmapped = named.map(|(_, name)| name.trim().to_owned()).collect();
    let needs_code = code_index(dataset).is_some_and(|index| targets[index].is_none());
    let code = context.code.filter(|_| needs_code).map(str::to_owned);
    let trade_status = cells.iter().position(|name| names::simplified(name).0 == "tradestatus");
    let header = cells.iter().map(|name| name.trim().to_owned()).collect();
    let adjustment = adjustment_of(context, cells, &targets);
    let plan = Plan { header, targets, unmapped, code, trade_status, adjustment };
    require_columns(context, &plan)?;
    Ok(plan)
}

/// Adjusted prices matter where raw ones belong: in the columns that adjustment changes.
fn adjustment_of(context: &Context, cells: &[&str], targets: &[Option<Target>]) -> Adjustment {
    const RAW_PRICES: [&str; 5] = ["open", "high", "low", "close", "pre_close"];
    let columns = context.dataset.columns.iter().zip(targets);
    let has_prices =
        columns.filter(|(_, target)| target.is_some()).any(|(column, _)| RAW_PRICES.contains(&&*column.name));
    // A mapping that leaves the flag out is a person who knows better.
    let is_flag = |name: &str| {
        matches!(names::simplified(name).0.as_str(), "adjustflag" | "adjust") && context.mapping.find(name).is_none()
    };
    let says_adjusted = |title: &str| title.contains("复权") && !title.contains("不复权");
    match cells.iter().position(|name| is_flag(name)) {
        _ if !has_prices => Adjustment::Unsaid,
        Some(cell) => Adjustment::ByCell(cell),
        None if context.title.is_some_and(says_adjusted) => Adjustment::Adjusted,
        None => Adjustment::Unsaid,
    }
}

/// For each dataset column the file column that fills it, and the unit that its name implies.
fn match_names(context: &Context, cells: &[&str]) -> (Vec<Option<usize>>, Vec<Option<&'static str>>) {
    let dataset = context.dataset;
    let mut matches: Vec<Option<usize>> = vec![None; dataset.columns.len()];
    let mut implied = vec![None; dataset.columns.len()];
    let mut free: Vec<bool> = cells.iter().map(|cell| !cell.trim().is_empty()).collect();
    let simple: Vec<String> = cells.iter().map(|cell| names::simplified(cell).0).collect();
    for (cell, name) in cells.iter().enumerate() {
        let Some(entry) = context.mapping.find(name) else { continue };
        free[cell] = false;
        if let Some(index) = entry.column.as_deref().and_then(|column| dataset.column_index(column)) {
            matches[index].get_or_insert(cell);
        }
    }
    let mut take = |index: Option<usize>, cell: usize, free: &mut [bool]| -> Option<usize> {
        let index = index.filter(|index| dataset.columns[*index].derived.is_none())?;
        if !free[cell] || matches[index].is_some() {
            return None;
        }
        free[cell] = false;
        matches[index] = Some(cell);
        Some(index)
    };
    for (cell, name) in simple.iter().enumerate() {
        take(dataset.column_index(name), cell, &mut free);
    }
    for alias in ALIASES {
        for name in alias.names {
            let Some(cell) = simple.iter().position(|simple| simple == name) else { continue };
            let taken = alias.columns.iter().find_map(|column| take(resolve(dataset, column), cell, &mut free));
            if let Some(index) = taken {
                implied[index] = alias.unit;
            }
        }
    }
    for (cell, name) in simple.iter().enumerate() {
        let adjusted = names::adjusted_price(name).and_then(|name| dataset.column_index(&name));
        take(adjusted.or_else(|| by_meaning(dataset, name)), cell, &mut free);
    }
    (matches, implied)
}

fn resolve(dataset: &Dataset, column: &str) -> Option<usize> {
    match column {
        SECURITY => code_index(dataset),
        TIME => dataset.time_index(),
        _ => dataset.column_index(column),
    }
}

/// The column that holds security codes: the one that areas are cut by, or the one that is called so.
pub fn code_index(dataset: &Dataset) -> Option<usize> {
    dataset.security_index().or_else(|| dataset.column_index("ts_code"))
}

/// The only column whose Chinese meaning is `name`.
fn by_meaning(dataset: &Dataset, name: &str) -> Option<usize> {
    let meant = |column: &Column| names::simplified(&column.meaning_zh).0 == name;
    let mut found = dataset.columns.iter().enumerate().filter(|(_, column)| meant(column));
    let (index, _) = found.next()?;
    (!name.is_empty() && found.next().is_none()).then_some(index)
}

fn style_of(context: &Context, cells: &[&str]) -> Style {
    let has = |name: &str| cells.iter().any(|cell| cell.trim().trim_start_matches('\u{feff}') == name);
    match () {
        () if has("ts_code") || (has("trade_date") && has("vol")) => Style::Tushare,
        () if context.title.is_some() => Style::Terminal,
        () => Style::Other,
    }
}

/// The unit is decided by the mapping, else the header's brackets, else the option, else the style of the file.
fn shift_of(context: &Context, column: &Column, cell: &str, implied: Option<&'static str>, style: Style) -> Result<i8> {
    if !matches!(column.kind, ColumnType::Int | ColumnType::Decimal | ColumnType::Float) {
        return Ok(0);
    }
    let mapped = context.mapping.find(cell).and_then(|entry| entry.unit);
    let bracket = || names::simplified(cell).1.and_then(|word| names::unit(&word));
    let unit = match (mapped.or_else(bracket), context.units) {
        (Some(unit), _) => unit,
        (None, Units::Canonical) => return Ok(0),
        (None, Units::Tushare) => return Ok(column.tushare_shift().unwrap_or(0)),
        (None, Units::Declared) if style == Style::Tushare => return Ok(column.tushare_shift().unwrap_or(0)),
        (None, Units::Declared) => match implied {
            Some("lot") if style == Style::Terminal => "share",
            Some(unit) => unit,
            None => return Ok(0),
        },
    };
    unit_shift(unit, &column.unit).ok_or_else(|| {
        let names = format!("column {:?} holds {unit}, but {} is kept in {}", cell.trim(), column.name, column.unit);
        Error::invalid(names).hint(format!("name the unit with --map \"{}={}:unit\"", cell.trim(), column.name))
    })
}

fn require_columns(context: &Context, plan: &Plan) -> Result<()> {
    let dataset = context.dataset;
    let is_needed = |index: usize, column: &Column| {
        let is_filled = plan.targets[index].is_some() || (code_index(dataset) == Some(index) && plan.code.is_some());
        let is_key = dataset.key.contains(&column.name);
        let may_be_empty = column.nullable && (!is_key || matches!(column.kind, ColumnType::Text | ColumnType::Date));
        column.derived.is_none() && !is_filled && !may_be_empty
    };
    let missing = dataset.columns.iter().enumerate().filter(|(index, column)| is_needed(*index, column));
    let missing: Vec<&str> = missing.map(|(_, column)| column.name.as_str()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let nothing_known = plan.targets.iter().all(Option::is_none);
    // A file without a header begins with values, and those stay out of messages.
    let found = match nothing_known {
        true => "no column name of its first lines is known".to_owned(),
        false => format!("its header is {}", plan.header.join(", ")),
    };
    let code_hint = match dataset.column_index(first) == code_index(dataset) {
        true => ", or give the security of the whole file with --code 600000.SH",
        false => "",
    };
    let message = format!("no column for {} of {}; {found}", missing.join(", "), dataset.name);
    Err(Error::invalid(message).hint(format!("name the column with --map \"file column={first}\"{code_hint}")))
}
