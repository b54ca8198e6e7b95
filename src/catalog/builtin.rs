//! The catalogue files that are compiled in. A test holds the list equal to the folder `catalog/`.

macro_rules! files {
    ($($name:literal,)*) => { &[$(($name, include_str!(concat!("../../catalog/", $name, ".toml")))),*] };
}

/// Name and text of each file, sorted by name.
pub const FILES: &[(&str, &str)] = files![
    "adj_factor",
    "balancesheet_vip",
    "bse_mapping",
    "cashflow_vip",
    "cyq_chips",
    "cyq_perf",
    "daily",
    "daily_basic",
    "disclosure_date",
    "dividend",
    "express_vip",
    "fina_audit",
    "fina_indicator",
    "forecast_vip",
    "hm_detail",
    "income_vip",
    "index_daily",
    "kpl_concept",
    "kpl_list",
    "limit_list_d",
    "margin",
    "moneyflow",
    "moneyflow_hsgt",
    "monthly",
    "namechange",
    "stk_factor",
    "stk_factor_pro",
    "stk_limit",
    "stock_basic",
    "stock_company",
    "suspend_d",
    "ths_hot",
    "top_list",
    "trade_cal",
    "weekly",
];
