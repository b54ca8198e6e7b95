//! The dialect against the catalogue: every question fits its query, and every unit is what the service means.

use std::collections::BTreeSet;

use super::mapping::{self, fields_of};
use super::{Layout, Question, Table, answer, message};
use crate::catalog::Catalog;
use crate::dialect::baostock::frame::{Limits, ReplyDecoder};
use crate::model::cell::Cells;
use crate::model::dataset::Cut;
use crate::model::{Area, Dataset, Day, ErrorKind, Securities, Span};

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn catalog() -> Catalog {
    Catalog::builtin().unwrap()
}

fn sh600000(from: &str, to: &str) -> Area {
    Area::new(Securities::one("600000.SH"), Span::new(day(from), day(to)))
}

#[test]
fn every_builtin_question_fits_its_query() {
    let mut used = BTreeSet::new();
    for dataset in catalog().datasets() {
        for service in &dataset.baostock {
            let place = format!("{} {}", dataset.name, service.api);
            let message = message::by_api(&service.api).unwrap_or_else(|| panic!("{place}: there is no such query"));
            used.insert(message.api);
            let given: Vec<&String> = service.always.keys().chain(service.facets.keys()).collect();
            for (column, served) in &service.columns {
                for field in fields_of(served) {
                    let is_given = message.param(field).is_some() || given.iter().any(|name| *name == field);
                    assert!(message.field(field).is_some() || is_given, "{place}: {column} comes from {field}");
                }
            }
            let unknown = service.only.keys().find(|field| message.field(field).is_none());
            assert_eq!(unknown, None, "{place}: only");
            for cut in &service.cuts {
                let named: Vec<&str> = crate::catalog::check::parameters_of(cut);
                let unknown = named.iter().find(|name| message.param(name).is_none());
                assert_eq!(unknown, None, "{place}: {}", cut.name());
                assert_eq!(
                    message.layout == Layout::WholeDay,
                    matches!(cut, Cut::Day { day } if day == "date" && !message.is_paged())
                );
            }
        }
    }
    // Funds have no dataset.
    let unused: Vec<&str> = message::MESSAGES.iter().map(|one| one.api).filter(|api| !used.contains(api)).collect();
    assert_eq!(unused, ["query_daily_history_k_ETF"]);
}

#[test]
fn an_area_becomes_arguments() {
    let catalog = catalog();
    let bars = "date,code,open,high,low,close,preclose,volume,amount,tradestatus,pctChg";
    let today = day("20240215");
    let span = sh600000("20240102", "20240131");
    let open = Area::new(Securities::one("600000.SH"), Span::ALL);
    for (dataset, cut, facet, area, expected) in [
        ("daily", 0, 0, span.clone(), format!("sh.600000|{bars}|2024-01-02|2024-01-31|d|3")),
        ("daily", 0, 0, open.clone(), format!("sh.600000|{bars}|1990-12-19|2024-02-15|d|3")),
        ("daily", 1, 0, Area::day(day("20240102")), "2024-01-02".to_string()),
        (
            "weekly",
            0,
            0,
            span.clone(),
            "sh.600000|date,code,open,high,low,close,volume,amount,pctChg|2024-01-02|2024-01-31|w|3".to_string(),
        ),
        (
            "trade_cal",
            0,
            1,
            Area::new(Securities::All, Span::new(day("20240101"), day("20241231"))),
            "2024-01-01|2024-12-31".to_string(),
        ),
        ("stock_basic", 0, 0, Area::whole(), "|".to_string()),
        ("stock_industry", 0, 0, Area::whole(), "|".to_string()),
        ("members_sz50", 0, 0, Area::day(day("20240105")), "2024-01-05".to_string()),
        ("quarter_profit", 0, 0, sh600000("20230630", "20230630"), "sh.600000|2023|2".to_string()),
        ("dividend_plan", 0, 32, open.clone(), "sh.600000|2023|report".to_string()),
        ("express_brief", 0, 0, open.clone(), "sh.600000|2003-01-01|2024-02-15".to_string()),
    ] {
        let dataset = catalog.get(dataset).unwrap();
        let way = mapping::ways(dataset)[cut];
        let (args, _) = mapping::arguments(dataset, way, &area, facet, today).unwrap();
        assert_eq!(args.join("|"), expected, "{}", dataset.name);
    }
    let daily = catalog.get("daily").unwrap();
    let way = mapping::ways(daily)[0];
    let beijing = Area::new(Securities::one("830799.BJ"), Span::ALL);
    assert_eq!(mapping::arguments(daily, way, &beijing, 0, today).unwrap_err().kind(), ErrorKind::NotFound);
    let quarters = catalog.get("quarter_profit").unwrap();
    let way = mapping::ways(quarters)[0];
    let two = sh600000("20230331", "20230630");
    assert_eq!(mapping::arguments(quarters, way, &two, 0, today).unwrap_err().kind(), ErrorKind::Bug);
}

/// The canonical texts of one row that is answered with these cells.
fn canonical(dataset: &Dataset, cut: usize, area: &Area, cells: &[(&str, &str)]) -> Vec<(String, String)> {
    let way = mapping::ways(dataset)[cut];
    let (_, given) = mapping::arguments(dataset, way, area, 0, day("20240215")).unwrap();
    let mut table = Table::new(cells.iter().map(|(name, _)| name.to_string()).collect());
    cells.iter().for_each(|(_, cell)| table.push(cell));
    let mapped = mapping::batch(dataset, way, &given, &table).unwrap();
    assert_eq!((mapped.unreadable.len(), mapped.batch.num_rows()), (0, 1), "{:?}", mapped.unreadable);
    let text = |(index, column): (usize, &crate::model::Column)| {
        let mut out = Vec::new();
        Cells::of(mapped.batch.column(index).as_ref()).unwrap().write(0, 0, &mut out);
        (column.name.clone(), String::from_utf8(out).unwrap())
    };
    dataset.columns.iter().enumerate().map(text).filter(|(_, text)| !text.is_empty()).collect()
}

/// A real day of a real share as the service sends it; the canonical values were worked out by hand. Every unit that the
/// catalogue states for these columns is part of the expectation: a factor that changes breaks it.
#[test]
fn every_unit_is_what_the_service_means() {
    let catalog = catalog();
    let area = sh600000("20240102", "20240131");
    let bar = [
        ("date", "2024-01-03"),
        ("code", "sh.600000"),
        ("open", "6.5900000000"),
        ("high", "6.6500"),
        ("low", "6.5900"),
        ("close", "6.6400"),
        ("preclose", "6.6000"),
        ("volume", "18203654"),
        ("amount", "120639706.0150"),
        ("turn", "0.062000"),
        ("tradestatus", "1"),
        ("pctChg", "0.606150"),
        ("peTTM", "4.376500"),
        ("pbMRQ", "0.311900"),
        ("psTTM", "1.100000"),
        ("pcfNcfTTM", "-2.123456"),
        ("isST", "0"),
    ];
    let prices = "open=6.59 high=6.65 low=6.59 close=6.64";
    let weekly = "open=6.59 high=6.65 low=6.59 close=6.64 pct_chg=0.006062 vol=18203654 amount=120639706.02";
    for (name, expected) in [
        ("daily", format!("{prices} pre_close=6.6 change=0.04 pct_chg=0.6062 vol=18203654 amount=120639706.02")),
        ("index_daily", format!("{prices} pre_close=6.6 change=0.04 pct_chg=0.6062 vol=18203654 amount=120639706.02")),
        ("weekly", weekly.to_string()),
        ("monthly", weekly.to_string()),
        ("daily_basic", "close=6.64 turnover_rate=0.062 pe_ttm=4.3765 pb=0.3119 ps_ttm=1.1".to_string()),
        (
            "daily_valuation",
            "trade_status=1 turn=0.062 pe_ttm=4.3765 pb_mrq=0.3119 ps_ttm=1.1 pcf_ncf_ttm=-2.123456 is_st=0"
                .to_string(),
        ),
    ] {
        let found = canonical(catalog.get(name).unwrap(), 0, &area, &bar);
        let mut expected: Vec<String> = expected.split(' ').map(str::to_string).collect();
        expected.extend(["ts_code=600000.SH".to_string(), "trade_date=2024-01-03".to_string()]);
        expected.sort();
        let mut found: Vec<String> = found.into_iter().map(|(name, text)| format!("{name}={text}")).collect();
        found.sort();
        assert_eq!(found, expected, "{name}");
    }
    let profit = [
        ("code", "sh.600000"),
        ("pubDate", "2023-08-31"),
        ("statDate", "2023-06-30"),
        ("roeAvg", "0.032797"),
        ("npMargin", "0.258851"),
        ("gpMargin", ""),
        ("netProfit", "23615000000.000000"),
        ("epsTTM", "1.503636"),
        ("MBRevenue", "167814000000.000000"),
        ("totalShare", "29352175421.00"),
        ("liqaShare", "29352175421.00"),
    ];
    let found = canonical(catalog.get("quarter_profit").unwrap(), 0, &sh600000("20230630", "20230630"), &profit);
    let found: Vec<String> = found.into_iter().map(|(name, text)| format!("{name}={text}")).collect();
    assert_eq!(
        found.join(" "),
        "ts_code=600000.SH stat_date=2023-06-30 pub_date=2023-08-31 roe_avg=0.032797 np_margin=0.258851 \
         net_profit=23615000000 eps_ttm=1.503636 mb_revenue=167814000000 total_share=29352175421 liqa_share=29352175421"
    );
}

#[test]
fn cells_that_cannot_be_read_make_their_row_unreadable_and_suspended_days_are_no_rows() {
    let catalog = catalog();
    let daily = catalog.get("daily").unwrap();
    let way = mapping::ways(daily)[0];
    let (args, given) = mapping::arguments(daily, way, &sh600000("20240102", "20240131"), 0, day("20240215")).unwrap();
    let fields: Vec<String> = args[1].split(',').map(str::to_string).collect();
    let mut table = Table::new(fields.clone());
    for (close, status) in [("6.64", "1"), ("x", "1"), ("6.64", "0"), ("", "1")] {
        for field in &fields {
            table.push(match field.as_str() {
                "date" => "2024-01-03",
                "code" => "sh.600000",
                "tradestatus" => status,
                "close" => close,
                _ => "1",
            });
        }
    }
    let mapped = mapping::batch(daily, way, &given, &table).unwrap();
    assert_eq!((mapped.batch.num_rows(), mapped.unreadable.len(), mapped.dropped), (2, 1, 1));
    assert!(mapped.unreadable[0].reason.contains("column close cannot be read"), "{:?}", mapped.unreadable);
    assert_eq!(mapped.unreadable[0].row["close"], "x");
    assert_eq!(mapped.batch.column_by_name("change").unwrap().null_count(), 1);
    let lacking = Table::new(vec!["date".into(), "code".into()]);
    assert_eq!(mapping::batch(daily, way, &given, &lacking).unwrap_err().kind(), ErrorKind::Transient);
}

fn question() -> Question {
    let message = message::by_api("query_adjust_factor").unwrap();
    let args = ["sh.600000", "2023-01-01", "2023-12-31"].map(str::to_string).to_vec();
    Question { message, user: "anonymous".into(), page: 1, per_page: 2, args }
}

fn read(body: &str) -> Result<Table, String> {
    let frame = super::Frame { version: "00.9.00".into(), kind: "16".into(), body: body.replace('¦', "\u{1}") };
    let limits = Limits { rows_max: 3, ..Limits::default() };
    let answered = answer::decode(&question(), &frame, &limits).map_err(|error| error.message().to_string())?;
    answered.map_err(|refused| refused.code)
}

#[test]
fn an_answer_must_belong_to_its_question() {
    let head = "0¦success¦query_adjust_factor¦anonymous¦1¦2¦";
    let tail = "¦sh.600000¦2023-01-01¦2023-12-31¦code, \tdividOperateDate,foreAdjustFactor";
    let row = r#"["sh.600000","2023-07-21","0.936211"]"#;
    let good = format!(r#"{head}{{"record":[{row}]}}{tail}"#);
    let table = read(&good).unwrap();
    assert_eq!((table.rows(), table.cell(0, 2), table.cell(1, 0)), (1, "0.936211", ""));
    assert_eq!(table.fields[1], "dividOperateDate");
    assert_eq!(read(&format!("{head}{tail}")).unwrap().rows(), 0);
    for (old, new, expected) in [
        ("query_adjust_factor¦", "query_profit_data¦", "names another query"),
        ("¦anonymous", "¦somebody", "names another user"),
        ("¦1¦2¦", "¦2¦2¦", "names another page"),
        ("¦1¦2¦", "¦1¦500¦", "names another page size"),
        ("¦sh.600000¦", "¦sh.600001¦", "names another code"),
        ("¦2023-12-31¦", "¦2024-12-31¦", "names another end_date"),
        ("¦2023-12-31¦", "¦", "it has 10 parts"),
        ("foreAdjustFactor", "somethingElse", "fields that the query has not"),
        ("foreAdjustFactor", "code", "a field twice"),
        ("[\"sh.600000\"", "[\"sh.600009\"", "rows of other securities"),
        ("[\"sh.600000\",", "[", "not what the service is known to send"),
        ("[\"sh.600000\"", "[1", "not what the service is known to send"),
        ("{\"record\"", "{\"rows\"", "not what the service is known to send"),
        ("}¦", "¦", "not what the service is known to send"),
        (row, &[row; 3].join(","), "more rows than were asked for"),
        (row, &[row; 4].join(","), "holds more than 3 rows"),
    ] {
        assert!(good.contains(old), "{old}");
        let error = read(&good.replacen(old, new, 1)).unwrap_err();
        assert!(error.contains(expected), "{old} -> {new}: {error}");
    }
    assert_eq!(read("10004006¦请求参数个数不正确").unwrap_err(), "10004006");
}

#[test]
fn what_the_mirror_writes_the_client_reads() {
    for message in message::MESSAGES {
        let args = message.params.iter().map(|name| match *name {
            "code" => "sh.600000".to_string(),
            "fields" => "date,code,close".to_string(),
            _ => "2024-01-02".to_string(),
        });
        let question = Question { message, user: "u".into(), page: 1, per_page: 100, args: args.collect() };
        let fields: Vec<String> = match message.layout {
            Layout::Bars => question.arg("fields").split(',').map(str::to_string).collect(),
            _ => message.fields.iter().map(|field| field.name.to_string()).collect(),
        };
        for rows in [0, 1, 3] {
            let mut table = Table::new(fields.clone());
            for _ in 0..rows {
                fields.iter().for_each(|name| {
                    table.push(match name.as_str() {
                        "code" => "sh.600000",
                        "date" | "calendar_date" => "2024-01-02",
                        "code_name" => "万 科\"Ａ\"",
                        _ => "",
                    })
                });
            }
            let bytes = answer::encode(&question, &table);
            let frame = ReplyDecoder::new(Limits::default()).push(&bytes).unwrap().unwrap();
            let found = answer::decode(&question, &frame, &Limits::default()).unwrap().unwrap();
            assert_eq!(found, table, "{} with {rows} rows", message.api);
        }
    }
}

#[test]
fn pages_are_cut_out_of_the_whole() {
    let mut table = Table::new(vec!["code".into()]);
    (0..5).for_each(|row| table.push(&row.to_string()));
    let page = |page, per_page| {
        let page = table.page(page, per_page);
        (0..page.rows()).map(|row| page.cell(row, 0).to_string()).collect::<Vec<_>>().join("")
    };
    for (number, per_page, expected) in
        [(1, 2, "01"), (3, 2, "4"), (4, 2, ""), (1, 5, "01234"), (2, 5, ""), (u32::MAX, 20_000, "")]
    {
        assert_eq!(page(number, per_page), expected, "{number} of {per_page}");
    }
}
