//! Every query of BaoStock in one list: its message types, what is asked, how the answer is laid out and which fields it
//! has. Client and mirror both follow from it.

/// How an answer is laid out after `0¦success¦method¦user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `page¦per_page¦DATA¦arguments…¦fields`.
    Paged,
    /// `page¦per_page¦DATA¦arguments…`; the fields are one of the arguments. Compressed.
    Bars,
    /// `DATA¦fields`, one answer without pages. Compressed.
    WholeDay,
}

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// `sh.600000`.
    Code,
    /// `2024-01-31`.
    Date,
    /// A number with so many digits after the point.
    Fixed(i8),
    /// A number without trailing zeros.
    Plain,
}

/// A field of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub form: Form,
}

/// One query.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The name of the query, as the official client calls it.
    pub api: &'static str,
    /// Message types of the question and of its answer.
    pub request: &'static str,
    pub reply: &'static str,
    pub layout: Layout,
    /// The arguments after user and page, in their order; answers with pages repeat them.
    pub params: &'static [&'static str],
    /// The fields of the answer in the order in which they are sent. Bars are asked for by field.
    pub fields: &'static [Field],
}

impl Message {
    /// Whether the answer is a zlib stream.
    pub fn is_compressed(&self) -> bool {
        is_compressed(self.reply)
    }

    pub fn is_paged(&self) -> bool {
        self.layout != Layout::WholeDay
    }

    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The place of an argument.
    pub fn param(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|param| *param == name)
    }
}

pub const LOGIN: (&str, &str) = ("00", "01");
pub const LOGOUT: (&str, &str) = ("02", "03");
/// Errors have a type of their own: clients unpack by type alone, so an error may never wear the type of a compressed
/// answer.
pub const FAILURE: &str = "04";

/// The types whose body is a zlib stream: `96` for every client, the others since 0.9.3.
pub fn is_compressed(kind: &str) -> bool {
    matches!(kind, "96" | "99" | "9B" | "9D")
}

const fn text(name: &'static str) -> Field {
    Field { name, form: Form::Text }
}

const fn date(name: &'static str) -> Field {
    Field { name, form: Form::Date }
}

const fn fixed(name: &'static str, places: i8) -> Field {
    Field { name, form: Form::Fixed(places) }
}

const fn plain(name: &'static str) -> Field {
    Field { name, form: Form::Plain }
}

const CODE: Field = Field { name: "code", form: Form::Code };

/// A paged query with a plain answer.
const fn paged(
    api: &'static str,
    request: &'static str,
    reply: &'static str,
    params: &'static [&'static str],
    fields: &'static [Field],
) -> Message {
    Message { api, request, reply, layout: Layout::Paged, params, fields }
}

/// A query about one day, answered at once.
const fn whole_day(api: &'static str, request: &'static str, reply: &'static str, fields: &'static [Field]) -> Message {
    Message { api, request, reply, layout: Layout::WholeDay, params: &["date"], fields }
}

/// What bars consist of. `time` is the end of a bar of minutes.
pub const BAR_FIELDS: &[Field] = &[
    date("date"),
    text("time"),
    CODE,
    fixed("open", 4),
    fixed("high", 4),
    fixed("low", 4),
    fixed("close", 4),
    fixed("preclose", 4),
    fixed("volume", 0),
    fixed("amount", 4),
    text("adjustflag"),
    fixed("turn", 6),
    text("tradestatus"),
    fixed("pctChg", 6),
    fixed("peTTM", 6),
    fixed("pbMRQ", 6),
    fixed("psTTM", 6),
    fixed("pcfNcfTTM", 6),
    text("isST"),
];

/// All fields of a day's bar, as the whole-day queries send them.
pub const DAY_FIELDS: &[Field] = &[
    BAR_FIELDS[0],
    CODE,
    BAR_FIELDS[3],
    BAR_FIELDS[4],
    BAR_FIELDS[5],
    BAR_FIELDS[6],
    BAR_FIELDS[7],
    BAR_FIELDS[8],
    BAR_FIELDS[9],
    BAR_FIELDS[10],
    BAR_FIELDS[11],
    BAR_FIELDS[12],
    BAR_FIELDS[13],
    BAR_FIELDS[14],
    BAR_FIELDS[15],
    BAR_FIELDS[16],
    BAR_FIELDS[17],
    BAR_FIELDS[18],
];

const FACTOR_FIELDS: &[Field] = &[
    CODE,
    date("dividOperateDate"),
    fixed("foreAdjustFactor", 6),
    fixed("backAdjustFactor", 6),
    fixed("adjustFactor", 6),
];

const MEMBER_FIELDS: &[Field] = &[date("updateDate"), CODE, text("code_name")];

const QUARTER: &[&str] = &["code", "year", "quarter"];
const SPAN: &[&str] = &["code", "start_date", "end_date"];

/// The queries that are spoken here.
pub const MESSAGES: &[Message] = &[
    Message {
        api: "query_history_k_data_plus",
        request: "95",
        reply: "96",
        layout: Layout::Bars,
        params: &["code", "fields", "start_date", "end_date", "frequency", "adjustflag"],
        fields: BAR_FIELDS,
    },
    whole_day("query_daily_history_k_AStock", "98", "99", DAY_FIELDS),
    whole_day("query_daily_history_k_ETF", "9A", "9B", DAY_FIELDS),
    whole_day("query_daily_adjust_factor", "9C", "9D", FACTOR_FIELDS),
    paged(
        "query_trade_dates",
        "33",
        "34",
        &["start_date", "end_date"],
        &[date("calendar_date"), text("is_trading_day")],
    ),
    paged("query_all_stock", "35", "36", &["day"], &[CODE, text("tradeStatus"), text("code_name")]),
    paged(
        "query_stock_basic",
        "45",
        "46",
        &["code", "code_name"],
        &[CODE, text("code_name"), date("ipoDate"), date("outDate"), text("type"), text("status")],
    ),
    paged(
        "query_stock_industry",
        "59",
        "60",
        &["code", "date"],
        &[date("updateDate"), CODE, text("code_name"), text("industry"), text("industryClassification")],
    ),
    paged("query_hs300_stocks", "61", "62", &["date"], MEMBER_FIELDS),
    paged("query_sz50_stocks", "63", "64", &["date"], MEMBER_FIELDS),
    paged("query_zz500_stocks", "65", "66", &["date"], MEMBER_FIELDS),
    paged("query_adjust_factor", "15", "16", SPAN, FACTOR_FIELDS),
    paged(
        "query_dividend_data",
        "13",
        "14",
        &["code", "year", "yearType"],
        &[
            CODE,
            date("dividPreNoticeDate"),
            date("dividAgmPumDate"),
            date("dividPlanAnnounceDate"),
            date("dividPlanDate"),
            date("dividRegistDate"),
            date("dividOperateDate"),
            date("dividPayDate"),
            date("dividStockMarketDate"),
            plain("dividCashPsBeforeTax"),
            text("dividCashPsAfterTax"),
            fixed("dividStocksPs", 6),
            text("dividCashStock"),
            plain("dividReserveToStockPs"),
        ],
    ),
    paged(
        "query_profit_data",
        "17",
        "18",
        QUARTER,
        &[
            CODE,
            date("pubDate"),
            date("statDate"),
            fixed("roeAvg", 6),
            fixed("npMargin", 6),
            fixed("gpMargin", 6),
            fixed("netProfit", 6),
            fixed("epsTTM", 6),
            fixed("MBRevenue", 6),
            fixed("totalShare", 2),
            fixed("liqaShare", 2),
        ],
    ),
    paged(
        "query_operation_data",
        "19",
        "20",
        QUARTER,
        &[
            CODE,
            date("pubDate"),
            date("statDate"),
            fixed("NRTurnRatio", 6),
            fixed("NRTurnDays", 6),
            fixed("INVTurnRatio", 6),
            fixed("INVTurnDays", 6),
            fixed("CATurnRatio", 6),
            fixed("AssetTurnRatio", 6),
        ],
    ),
    paged(
        "query_growth_data",
        "21",
        "22",
        QUARTER,
        &[
            CODE,
            date("pubDate"),
            date("statDate"),
            fixed("YOYEquity", 6),
            fixed("YOYAsset", 6),
            fixed("YOYNI", 6),
            fixed("YOYEPSBasic", 6),
            fixed("YOYPNI", 6),
        ],
    ),
    paged(
        "query_dupont_data",
        "23",
        "24",
        QUARTER,
        &[
            CODE,
            date("pubDate"),
            date("statDate"),
            fixed("dupontROE", 6),
            fixed("dupontAssetStoEquity", 6),
            fixed("dupontAssetTurn", 6),
            fixed("dupontPnitoni", 6),
            fixed("dupontNitogr", 6),
            fixed("dupontTaxBurden", 6),
            fixed("dupontIntburden", 6),
            fixed("dupontEbittogr", 6),
        ],
    ),
    paged(
        "query_balance_data",
        "25",
        "26",
        QUARTER,
        &[
            CODE,
            date("pubDate"),
            date("statDate"),
            fixed("currentRatio", 6),
            fixed("quickRatio", 6),
            fixed("cashRatio", 6),
            fixed("YOYLiability", 6),
            fixed("liabilityToAsset", 6),
            fixed("assetToEquity", 6),
        ],
    ),
    paged(
        "query_cash_flow_data",
        "27",
        "28",
        QUARTER,
        &[
            CODE,
            date("pubDate"),
            date("statDate"),
            fixed("CAToAsset", 6),
            fixed("NCAToAsset", 6),
            fixed("tangibleAssetToAsset", 6),
            fixed("ebitToInterest", 6),
            fixed("CFOToOR", 6),
            fixed("CFOToNP", 6),
            fixed("CFOToGr", 6),
        ],
    ),
    paged(
        "query_performance_express_report",
        "29",
        "30",
        SPAN,
        &[
            CODE,
            date("performanceExpPubDate"),
            date("performanceExpStatDate"),
            date("performanceExpUpdateDate"),
            fixed("performanceExpressTotalAsset", 6),
            fixed("performanceExpressNetAsset", 6),
            fixed("performanceExpressEPSChgPct", 6),
            fixed("performanceExpressROEWa", 6),
            fixed("performanceExpressEPSDiluted", 6),
            fixed("performanceExpressGRYOY", 6),
            fixed("performanceExpressOPYOY", 6),
        ],
    ),
    paged(
        "query_forecast_report",
        "31",
        "32",
        SPAN,
        &[
            CODE,
            date("profitForcastExpPubDate"),
            date("profitForcastExpStatDate"),
            text("profitForcastType"),
            text("profitForcastAbstract"),
            fixed("profitForcastChgPctUp", 6),
            fixed("profitForcastChgPctDwn", 6),
        ],
    ),
];

/// The query of this name.
pub fn by_api(api: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.api == api)
}

/// The query whose questions have this type.
pub fn by_request(kind: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.request == kind)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_types_are_unique_and_fields_are_named_once() {
        let mut seen = BTreeSet::from([LOGIN.0, LOGIN.1, LOGOUT.0, LOGOUT.1, FAILURE]);
        for message in MESSAGES {
            assert!(seen.insert(message.api) && seen.insert(message.request) && seen.insert(message.reply));
            assert_eq!(message.request.len() + message.reply.len(), 4, "{}", message.api);
            let names: BTreeSet<&str> = message.fields.iter().map(|field| field.name).collect();
            assert_eq!(names.len(), message.fields.len(), "{}", message.api);
            assert_eq!(message.is_compressed(), message.layout != Layout::Paged, "{}", message.api);
            assert_eq!(by_api(message.api), by_request(message.request));
        }
    }
}
