//! The names that sources give to columns and units, as tables.

/// Where a foreign name leads: the first of `columns` that the dataset has and nothing else fills.
#[derive(Debug)]
pub struct Alias {
    /// In lower case, without brackets and blanks.
    pub names: &'static [&'static str],
    pub columns: &'static [&'static str],
    /// The unit that the name implies by convention of those who use it.
    pub unit: Option<&'static str>,
}

/// Stands in `Alias::columns` for the column that names the security.
pub const SECURITY: &str = "@security";
/// Stands in `Alias::columns` for the column that areas are counted by.
pub const TIME: &str = "@time";

const fn alias(names: &'static [&'static str], columns: &'static [&'static str]) -> Alias {
    Alias { names, columns, unit: None }
}

const fn measured(names: &'static [&'static str], columns: &'static [&'static str], unit: &'static str) -> Alias {
    Alias { names, columns, unit: Some(unit) }
}

/// Earlier entries win when two names of a file lead to the same column.
pub const ALIASES: &[Alias] = &[
    alias(&["ts_code", "ts代码", "tscode", "证券代码"], &[SECURITY]),
    alias(&["股票代码", "代码", "code", "stock_code", "secucode", "sec_code", "security_code"], &[SECURITY, "symbol"]),
    alias(&["指数代码", "index_code", "order_book_id", "instrument", "ticker", "symbol"], &[SECURITY, "symbol"]),
    alias(&["trade_date", "交易日期", "交易日", "trading_date", "tradedate", "trade_dt"], &[TIME]),
    alias(&["日期", "date", "datetime", "timestamp", "时间", "time", "session"], &[TIME]),
    alias(&["开盘价", "开盘", "今开"], &["open"]),
    alias(&["最高价", "最高"], &["high"]),
    alias(&["最低价", "最低"], &["low"]),
    alias(&["收盘价", "收盘"], &["close"]),
    alias(&["昨收价", "昨收", "前收盘价", "前收盘", "前收", "preclose", "prev_close"], &["pre_close"]),
    alias(&["涨跌额", "涨跌"], &["change"]),
    measured(&["涨跌幅", "pctchg", "pct_chg", "pct_change", "change_pct"], &["pct_chg", "pct_change"], "percent"),
    measured(&["成交量", "总手"], &["vol", "volume"], "lot"),
    measured(&["volume", "成交股数"], &["vol", "volume"], "share"),
    measured(&["成交额", "成交金额"], &["amount"], "CNY"),
    alias(&["复权因子"], &["adj_factor"]),
    measured(&["换手率", "turn"], &["turnover_rate"], "percent"),
    alias(&["量比"], &["volume_ratio"]),
    alias(&["市盈率ttm", "滚动市盈率", "pettm"], &["pe_ttm"]),
    alias(&["市盈率"], &["pe"]),
    alias(&["市净率", "pbmrq"], &["pb"]),
    alias(&["市销率ttm", "psttm"], &["ps_ttm"]),
    alias(&["市销率"], &["ps"]),
    alias(&["股息率ttm"], &["dv_ttm"]),
    alias(&["股息率"], &["dv_ratio"]),
    measured(&["总股本"], &["total_share"], "share"),
    measured(&["流通股本"], &["float_share"], "share"),
    measured(&["自由流通股本"], &["free_share"], "share"),
    measured(&["总市值"], &["total_mv"], "CNY"),
    measured(&["流通市值"], &["circ_mv"], "CNY"),
    alias(&["股票名称", "证券名称", "股票简称", "证券简称", "名称", "简称"], &["name"]),
    alias(&["stock_name", "short_name", "code_name", "sec_name"], &["name"]),
    alias(&["地区", "地域"], &["area"]),
    alias(&["行业", "所属行业"], &["industry"]),
    alias(&["公司全称", "股票全称", "公司名称"], &["fullname", "com_name"]),
    alias(&["英文名称", "英文全称"], &["enname"]),
    alias(&["拼音缩写"], &["cnspell"]),
    alias(&["市场类型"], &["market"]),
    alias(&["交易所代码", "交易所"], &["exchange"]),
    alias(&["交易货币"], &["curr_type"]),
    alias(&["上市状态"], &["list_status"]),
    alias(&["上市日期", "上市时间", "ipodate"], &["list_date"]),
    alias(&["退市日期", "outdate"], &["delist_date"]),
    alias(&["是否沪深港通标的", "是否沪深港通"], &["is_hs"]),
    alias(&["实控人名称"], &["act_name"]),
    alias(&["企业性质", "实控人企业性质"], &["act_ent_type"]),
];

/// Words for units in brackets of headers, in mappings and in the catalogue, with the catalogue's name.
const UNITS: &[(&str, &str)] = &[
    ("手", "lot"),
    ("股", "share"),
    ("万股", "share_10k"),
    ("亿股", "share_100m"),
    ("元", "CNY"),
    ("人民币元", "CNY"),
    ("千元", "CNY_1k"),
    ("万元", "CNY_10k"),
    ("万", "CNY_10k"),
    ("百万元", "CNY_1m"),
    ("亿元", "CNY_100m"),
    ("亿", "CNY_100m"),
    ("%", "percent"),
    ("％", "percent"),
    ("lots", "lot"),
    ("shares", "share"),
    ("yuan", "CNY"),
    ("lot", "lot"),
    ("share", "share"),
    ("share_10k", "share_10k"),
    ("share_100m", "share_100m"),
    ("cny", "CNY"),
    ("cny_1k", "CNY_1k"),
    ("cny_10k", "CNY_10k"),
    ("cny_1m", "CNY_1m"),
    ("cny_100m", "CNY_100m"),
    ("percent", "percent"),
    ("fraction", "fraction"),
];

/// The catalogue's name of a unit; `None` when the word is no unit that is converted.
pub fn unit(word: &str) -> Option<&'static str> {
    let word = word.trim().trim_start_matches("单位").trim_start_matches([':', '：']).to_lowercase();
    UNITS.iter().find(|(name, _)| *name == word).map(|(_, unit)| *unit)
}

/// A header cell in comparable form, and the words in its brackets: `成交量（手）` is `成交量` and `手`.
pub fn simplified(header: &str) -> (String, Option<String>) {
    let header = header.trim().trim_start_matches('\u{feff}').replace('（', "(").replace('）', ")");
    let blank = |letter: &char| !letter.is_whitespace();
    match header.split_once('(') {
        Some((name, rest)) if !name.trim().is_empty() => {
            let inside = rest.split(')').next().unwrap_or(rest).to_owned();
            (name.chars().filter(blank).collect::<String>().to_lowercase(), Some(inside))
        }
        _ => (header.chars().filter(blank).collect::<String>().to_lowercase(), None),
    }
}

/// The catalogue's name of an adjusted price: `开盘价后复权` is `open_hfq`.
pub fn adjusted_price(name: &str) -> Option<String> {
    let (base, suffix) = match name.strip_suffix("后复权") {
        Some(base) => (base, "hfq"),
        None => (name.strip_suffix("前复权")?, "qfq"),
    };
    let price = ALIASES.iter().find(|alias| alias.names.contains(&base))?;
    Some(format!("{}_{suffix}", price.columns.first()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_lose_brackets_blanks_and_marks() {
        for (header, expected) in [
            ("成交量(手)", ("成交量", Some("手"))),
            ("成交额（千元）", ("成交额", Some("千元"))),
            ("\u{feff}股票代码", ("股票代码", None)),
            ("      日期", ("日期", None)),
            ("Adj Close", ("adjclose", None)),
            ("MACD_DIF(基于前复权价格计算)", ("macd_dif", Some("基于前复权价格计算"))),
            ("", ("", None)),
            ("(x)", ("(x)", None)),
        ] {
            let (name, inside) = simplified(header);
            assert_eq!((name.as_str(), inside.as_deref()), expected);
        }
        assert_eq!(unit("千元"), Some("CNY_1k"));
        assert_eq!(unit("单位：万元"), Some("CNY_10k"));
        assert_eq!(unit("基于前复权价格计算"), None);
        assert_eq!(adjusted_price("收盘价后复权").as_deref(), Some("close_hfq"));
    }

    #[test]
    fn no_name_leads_to_two_places() {
        let mut names: Vec<&str> = ALIASES.iter().flat_map(|alias| alias.names).copied().collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        assert!(names.iter().all(|name| simplified(name).0 == *name));
    }
}
