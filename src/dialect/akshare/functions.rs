//! The functions of AKShare that are known: parameters with their defaults, fields in their order with their forms, and
//! the shape of the table. A function that is not listed is a plain table with the fields that the catalogue names.

/// How a cell is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// Six digits without an exchange.
    Code,
    /// `YYYY-MM-DDT00:00:00.000`.
    Date,
    /// A whole number.
    Integer,
    /// A float: whole ones keep `.0`.
    Number,
    /// `20240131` as a number.
    DayNumber,
    /// 1, 2, 3 ...
    RowNumber,
}

/// One field of a function's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub form: Form,
}

/// What kind of table a function answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A row of fields for each thing.
    #[default]
    Table,
    /// One thing: a row for each field, under `item` and `value`.
    Items,
    /// A column for each report period: `选项`, `指标`, then `YYYYMMDD` newest first.
    Periods,
    /// The trading days and no others.
    TradingDays,
}

/// One function.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub name: &'static str,
    /// Parameters with their defaults; `None` is Python's `None`.
    pub parameters: &'static [(&'static str, Option<&'static str>)],
    /// Empty: the fields that the catalogue maps, in its order.
    pub fields: &'static [Field],
    pub shape: Shape,
    /// Fields by which rows are sorted, and whether downwards.
    pub order: &'static [(&'static str, bool)],
}

/// The function of that name, when it is listed.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

const fn text(name: &'static str) -> Field {
    Field { name, form: Form::Text }
}

const fn code(name: &'static str) -> Field {
    Field { name, form: Form::Code }
}

const fn date(name: &'static str) -> Field {
    Field { name, form: Form::Date }
}

const fn number(name: &'static str) -> Field {
    Field { name, form: Form::Number }
}

const fn integer(name: &'static str) -> Field {
    Field { name, form: Form::Integer }
}

const NUMBERED: Field = Field { name: "序号", form: Form::RowNumber };

/// Every known function.
pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "stock_zh_a_hist",
        parameters: &[
            ("symbol", Some("000001")),
            ("period", Some("daily")),
            ("start_date", Some("19700101")),
            ("end_date", Some("20500101")),
            ("adjust", Some("")),
            ("timeout", None),
        ],
        fields: &[
            date("日期"),
            code("股票代码"),
            number("开盘"),
            number("收盘"),
            number("最高"),
            number("最低"),
            integer("成交量"),
            number("成交额"),
            number("振幅"),
            number("涨跌幅"),
            number("涨跌额"),
            number("换手率"),
        ],
        shape: Shape::Table,
        order: &[("日期", false)],
    },
    Function {
        name: "stock_info_a_code_name",
        parameters: &[],
        fields: &[code("code"), text("name")],
        shape: Shape::Table,
        order: &[("code", false)],
    },
    Function {
        name: "stock_zh_a_spot_em",
        parameters: &[],
        fields: &[
            NUMBERED,
            code("代码"),
            text("名称"),
            number("最新价"),
            number("涨跌幅"),
            number("涨跌额"),
            number("成交量"),
            number("成交额"),
            number("振幅"),
            number("最高"),
            number("最低"),
            number("今开"),
            number("昨收"),
            number("量比"),
            number("换手率"),
            number("市盈率-动态"),
            number("市净率"),
            number("总市值"),
            number("流通市值"),
            number("涨速"),
            number("5分钟涨跌"),
            number("60日涨跌幅"),
            number("年初至今涨跌幅"),
        ],
        shape: Shape::Table,
        order: &[("涨跌幅", true), ("代码", false)],
    },
    Function {
        name: "tool_trade_date_hist_sina",
        parameters: &[],
        fields: &[date("trade_date")],
        shape: Shape::TradingDays,
        order: &[],
    },
    Function {
        name: "stock_individual_info_em",
        parameters: &[("symbol", Some("603777")), ("timeout", None)],
        fields: &[
            number("最新"),
            code("股票代码"),
            text("股票简称"),
            number("总股本"),
            number("流通股"),
            number("总市值"),
            number("流通市值"),
            text("行业"),
            Field { name: "上市时间", form: Form::DayNumber },
        ],
        shape: Shape::Items,
        order: &[],
    },
    Function {
        name: "stock_financial_abstract",
        parameters: &[("symbol", Some("600004"))],
        fields: &[text("选项"), text("指标"), date("报告期"), number("值")],
        shape: Shape::Periods,
        order: &[],
    },
    Function {
        name: "stock_financial_analysis_indicator",
        parameters: &[("symbol", Some("600004")), ("start_year", Some("1900"))],
        fields: &[],
        shape: Shape::Table,
        order: &[("日期", false)],
    },
    Function {
        name: "stock_yjbb_em",
        parameters: &[("date", Some("20200331"))],
        fields: &[
            NUMBERED,
            code("股票代码"),
            text("股票简称"),
            number("每股收益"),
            number("营业总收入-营业总收入"),
            number("营业总收入-同比增长"),
            number("营业总收入-季度环比增长"),
            number("净利润-净利润"),
            number("净利润-同比增长"),
            number("净利润-季度环比增长"),
            number("每股净资产"),
            number("净资产收益率"),
            number("每股经营现金流量"),
            number("销售毛利率"),
            text("所处行业"),
            date("最新公告日期"),
        ],
        shape: Shape::Table,
        order: &[("最新公告日期", true), ("股票代码", true)],
    },
    Function {
        name: "stock_yjyg_em",
        parameters: &[("date", Some("20200331"))],
        fields: &[
            NUMBERED,
            code("股票代码"),
            text("股票简称"),
            text("预测指标"),
            text("业绩变动"),
            number("预测数值"),
            number("业绩变动幅度"),
            text("业绩变动原因"),
            text("预告类型"),
            number("上年同期值"),
            date("公告日期"),
        ],
        shape: Shape::Table,
        order: &[("公告日期", true), ("股票代码", true), ("预测指标", false)],
    },
    Function {
        name: "stock_yysj_em",
        parameters: &[("symbol", Some("沪深A股")), ("date", Some("20200331"))],
        fields: &[
            NUMBERED,
            code("股票代码"),
            text("股票简称"),
            date("首次预约时间"),
            date("一次变更日期"),
            date("二次变更日期"),
            date("三次变更日期"),
            date("实际披露时间"),
        ],
        shape: Shape::Table,
        order: &[("首次预约时间", false), ("股票代码", false)],
    },
];
