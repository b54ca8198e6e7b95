#!/usr/bin/env python3
"""Reads a running mirror with the unmodified `baostock` package and compares every answer with the store.

    read_baostock.py --address 127.0.0.1:10030 --password TOKEN --store tidegate.db

The store is opened with Python's own sqlite3, and fields and units are written down here, so nothing of Tidegate's own code
judges Tidegate. The mirror must be started with a list of tokens. Prints a line for each check and leaves with 1 when
anything differs.
"""

import argparse
import decimal
import importlib.metadata
import pathlib
import sqlite3
import sys

import baostock
import baostock.common.contants as constants

decimal.getcontext().prec = 60

BARS = {
    "open": "open", "high": "high", "low": "low", "close": "close", "preclose": "pre_close", "volume": "vol",
    "amount": "amount", "pctChg": "pct_chg",
}
WEEKLY = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "vol", "amount": "amount"}
VALUATION = {
    "turn": "turn", "tradestatus": "trade_status", "peTTM": "pe_ttm", "pbMRQ": "pb_mrq", "psTTM": "ps_ttm",
    "pcfNcfTTM": "pcf_ncf_ttm", "isST": "is_st",
}
QUARTERLY = {
    "quarter_profit": ("query_profit_data", {
        "roeAvg": "roe_avg", "npMargin": "np_margin", "gpMargin": "gp_margin", "netProfit": "net_profit",
        "epsTTM": "eps_ttm", "MBRevenue": "mb_revenue", "totalShare": "total_share", "liqaShare": "liqa_share"}),
    "quarter_operation": ("query_operation_data", {
        "NRTurnRatio": "nr_turn_ratio", "NRTurnDays": "nr_turn_days", "INVTurnRatio": "inv_turn_ratio",
        "INVTurnDays": "inv_turn_days", "CATurnRatio": "ca_turn_ratio", "AssetTurnRatio": "asset_turn_ratio"}),
    "quarter_growth": ("query_growth_data", {
        "YOYEquity": "yoy_equity", "YOYAsset": "yoy_asset", "YOYNI": "yoy_ni", "YOYEPSBasic": "yoy_eps_basic",
        "YOYPNI": "yoy_pni"}),
    "quarter_dupont": ("query_dupont_data", {
        "dupontROE": "dupont_roe", "dupontAssetStoEquity": "dupont_asset_sto_equity",
        "dupontAssetTurn": "dupont_asset_turn", "dupontPnitoni": "dupont_pnitoni", "dupontNitogr": "dupont_nitogr",
        "dupontTaxBurden": "dupont_tax_burden", "dupontIntburden": "dupont_intburden",
        "dupontEbittogr": "dupont_ebittogr"}),
    "quarter_balance": ("query_balance_data", {
        "currentRatio": "current_ratio", "quickRatio": "quick_ratio", "cashRatio": "cash_ratio",
        "YOYLiability": "yoy_liability", "liabilityToAsset": "liability_to_asset", "assetToEquity": "asset_to_equity"}),
    "quarter_cash_flow": ("query_cash_flow_data", {
        "CAToAsset": "ca_to_asset", "NCAToAsset": "nca_to_asset", "tangibleAssetToAsset": "tangible_asset_to_asset",
        "ebitToInterest": "ebit_to_interest", "CFOToOR": "cfo_to_or", "CFOToNP": "cfo_to_np", "CFOToGr": "cfo_to_gr"}),
}
# Everything that the client strips out of texts before its users see them.
BLANKS = str.maketrans("", "", " \t\n\r\u3000\u00a0")


class Difference(Exception):
    """The mirror's answer is not what the store holds."""


def expect(condition, text):
    if not condition:
        raise Difference(text)


def wire(code):
    return f"{code[7:9].lower()}.{code[:6]}"


def text(value):
    """A stored value as a comparable one: numbers exact, texts without blanks, nothing as the empty text."""
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return decimal.Decimal(repr(value)).normalize()
    try:
        return decimal.Decimal(value).normalize()
    except decimal.InvalidOperation:
        return value.translate(BLANKS)


class Mirror:
    def __init__(self, store):
        self.store = store

    def rows(self, sql, *values):
        cursor = self.store.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor]

    def one(self, sql, *values):
        rows = self.rows(sql, *values)
        expect(rows, f"the store has nothing for: {sql}")
        return next(iter(rows[0].values()))

    @staticmethod
    def read(result, code="0"):
        """The rows of an answer as dictionaries, read as users of every version can."""
        expect(result is not None, "no answer")
        expect(result.error_code == code, f"error {result.error_code} {result.error_msg} instead of {code}")
        rows = []
        while code == "0" and result.next():
            rows.append(dict(zip(result.fields, result.get_row_data())))
        return rows

    @staticmethod
    def same(found, expected, key, columns, what):
        """Every expected row was found, no other, and its fields equal the stored columns."""
        by_key = {tuple(row[name] for name in key): row for row in found}
        expect(len(by_key) == len(found), f"{what}: a row came twice")
        expect(len(found) == len(expected), f"{what}: {len(found)} rows instead of {len(expected)}")
        for wanted in expected:
            row = by_key.get(wanted["key"])
            expect(row is not None, f"{what}: no row for {wanted['key']}")
            for field, column in columns.items():
                expect(text(row[field]) == text(wanted[column]),
                       f"{what} {wanted['key']}: {field} is {row[field]!r}, {column} is {wanted[column]!r}")
        return len(found)


def bars_of(mirror, code, start, end, dataset="daily"):
    rows = mirror.rows(f"select * from {dataset} where ts_code = ? and trade_date between ? and ?", code, start, end)
    return [dict(row, key=(row["trade_date"], wire(code))) for row in rows]


def halted_share(mirror):
    rows = mirror.rows(
        "select ts_code, min(trade_date) as first, count(*) as days from suspend_d where suspend_type = 'S' and "
        "suspend_timing = '' and ts_code not like '%.BJ' and trade_date between '2023-03-10' and '2024-01-31' group by ts_code order by days desc")
    expect(rows, "nobody was suspended")
    return rows[0]["ts_code"]


def check_calendar(mirror):
    found = mirror.read(baostock.query_trade_dates(start_date="2024-01-01", end_date="2024-01-31"))
    rows = mirror.rows("select * from trade_cal where exchange = 'SSE' and cal_date between '2024-01-01' and '2024-01-31'")
    expected = [dict(row, key=(row["cal_date"],)) for row in rows]
    expect(len(expected) == 31, "the store has no calendar")
    return mirror.same(found, expected, ["calendar_date"], {"is_trading_day": "is_open"}, "calendar")


def check_daily(mirror):
    """A share that was suspended: the stored rows, and a row for each suspended day that repeats the last close."""
    code = halted_share(mirror)
    fields = ",".join(["date", "code", *BARS, "adjustflag", *VALUATION])
    start, end = "2023-03-10", "2024-01-31"
    found = mirror.read(baostock.query_history_k_data_plus(wire(code), fields, start_date=start, end_date=end))
    expect([row["date"] for row in found] == sorted(row["date"] for row in found), "bars are not in order")
    traded = [row for row in found if row["tradestatus"] == "1"]
    count = mirror.same(traded, bars_of(mirror, code, start, end), ["date", "code"], BARS, "daily")
    for row in found:
        stored = mirror.rows("select * from daily_valuation where ts_code = ? and trade_date = ?", code, row["date"])
        for field, column in VALUATION.items():
            expect(text(row[field]) == text(stored[0][column]), f"valuation {row['date']}: {field} {row[field]!r}")
    halts = [row for row in found if row["tradestatus"] == "0"]
    days = mirror.rows(
        "select trade_date from suspend_d where ts_code = ? and suspend_type = 'S' and suspend_timing = '' and "
        "trade_date between ? and ?", code, start, end)
    expect(halts and len(halts) == len(days), f"{len(halts)} suspended days instead of {len(days)}")
    for row in halts:
        last = mirror.one("select close from daily where ts_code = ? and trade_date < ? order by trade_date desc limit 1",
                          code, row["date"])
        expect({text(row[name]) for name in ("open", "high", "low", "close", "preclose")} == {text(last)}, f"halt {row}")
        expect((row["volume"], row["adjustflag"]) == ("0", "3"), f"halt {row}")
    return count + len(halts)


def check_pages(mirror):
    """The same rows in pages, also where the last page is exactly full."""
    code = wire(halted_share(mirror))
    ask = lambda: mirror.read(baostock.query_history_k_data_plus(
        code, "date,code,close", start_date="2023-03-10", end_date="2023-06-30"))
    whole, usual = ask(), constants.BAOSTOCK_PER_PAGE_COUNT
    expect(len(whole) > 8, "too few rows for pages")
    try:
        for rows in (1, 7, len(whole) - 1, len(whole), len(whole) + 1):
            constants.BAOSTOCK_PER_PAGE_COUNT = rows
            expect(ask() == whole, f"pages of {rows} rows do not make up the whole")
    finally:
        constants.BAOSTOCK_PER_PAGE_COUNT = usual
    return len(whole)


def check_other_bars(mirror):
    code = halted_share(mirror)
    count = 0
    for frequency, dataset in (("w", "weekly"), ("m", "monthly")):
        found = mirror.read(baostock.query_history_k_data_plus(
            wire(code), ",".join(["date", "code", *WEEKLY]), start_date="2023-06-01", end_date="2024-01-31",
            frequency=frequency, adjustflag="3"))
        expected = bars_of(mirror, code, "2023-06-01", "2024-01-31", dataset)
        count += mirror.same(found, expected, ["date", "code"], WEEKLY, dataset)
    expected = bars_of(mirror, "000300.SH", "2024-01-02", "2024-01-31", "index_daily")
    found = mirror.read(baostock.query_history_k_data_plus(
        "sh.000300", ",".join(["date", "code", *BARS]), start_date="2024-01-02", end_date="2024-01-31"))
    expect(expected, "the store has no index")
    return count + mirror.same(found, expected, ["date", "code"], BARS, "index")


def check_adjusted(mirror):
    """Prices times the factor of the day; volumes as they were."""
    code = mirror.one("select ts_code from ex_factor where ts_code not like '%.BJ' limit 1")
    found = mirror.read(baostock.query_history_k_data_plus(
        wire(code), "date,code,close,volume,tradestatus", start_date="2023-06-01", end_date="2024-01-31", adjustflag="1"))
    for row in found:
        if row["tradestatus"] != "1":
            continue
        stored = mirror.rows("select close, vol from daily where ts_code = ? and trade_date = ?", code, row["date"])[0]
        factor = mirror.one("select adj_factor from adj_factor where ts_code = ? and trade_date = ?", code, row["date"])
        price = text(stored["close"]) * text(factor)
        expect(abs(text(row["close"]) - price) <= decimal.Decimal("0.00005001"), f"adjusted {row}: {price}")
        expect(text(row["volume"]) == text(stored["vol"]), f"adjusted volume {row}")
    return len(found)


def check_lists(mirror):
    day = mirror.one("select max(trade_date) from daily")
    stocks = mirror.rows("select * from stock_basic where ts_code not like '%.BJ'")
    expected = [dict(row, key=(wire(row["ts_code"]),)) for row in stocks]
    columns = {"code_name": "name", "ipoDate": "list_date", "outDate": "delist_date"}
    found = mirror.read(baostock.query_stock_basic())
    expect({row["type"] for row in found} == {"1"}, "types of securities")
    count = mirror.same(found, expected, ["code"], columns, "stock_basic")
    one = expected[0]
    expect(len(mirror.read(baostock.query_stock_basic(code=one["key"][0]))) == 1, "by code")
    by_name = mirror.read(baostock.query_stock_basic(code_name=one["name"]))
    expect(one["key"][0] in {row["code"] for row in by_name}, f"by name {one['name']}")
    found = mirror.read(baostock.query_all_stock(day=day))
    status = {row["code"]: row["tradeStatus"] for row in found}
    for row in mirror.rows("select * from trade_status where trade_date = ?", day):
        expect(status.get(wire(row["ts_code"])) == row["trade_status"], f"all_stock {row['ts_code']}")
    expect(mirror.read(baostock.query_all_stock(day="2024-01-01")) == [], "a holiday has securities")
    industries = [dict(row, key=(wire(row["ts_code"]),)) for row in mirror.rows("select * from stock_industry")]
    count += mirror.same(mirror.read(baostock.query_stock_industry()), industries, ["code"],
                         {"industry": "industry", "updateDate": "update_date"}, "industry")
    for name, query in (("hs300", baostock.query_hs300_stocks), ("sz50", baostock.query_sz50_stocks),
                        ("zz500", baostock.query_zz500_stocks)):
        newest = mirror.one(f"select max(trade_date) from members_{name}")
        members = mirror.rows(f"select * from members_{name} where trade_date = ?", newest)
        expected = [dict(row, key=(wire(row["ts_code"]),)) for row in members]
        expect(expected, f"no members of {name}")
        count += mirror.same(mirror.read(query()), expected, ["code"], {"updateDate": "update_date"}, name)
    return count + len(found)


def check_reports(mirror):
    count = 0
    for dataset, (query, columns) in QUARTERLY.items():
        row = mirror.rows(f"select * from {dataset} order by stat_date desc limit 1")[0]
        year, quarter = int(row["stat_date"][:4]), int(row["stat_date"][5:7]) // 3
        found = mirror.read(getattr(baostock, query)(wire(row["ts_code"]), year=year, quarter=quarter))
        expected = [dict(row, key=(wire(row["ts_code"]), row["stat_date"]))]
        count += mirror.same(found, expected, ["code", "statDate"], {**columns, "pubDate": "pub_date"}, dataset)
    for dataset, query, stat, published in (
        ("express_brief", baostock.query_performance_express_report, "performanceExpStatDate", "performanceExpPubDate"),
        ("forecast_brief", baostock.query_forecast_report, "profitForcastExpStatDate", "profitForcastExpPubDate"),
    ):
        row = mirror.rows(f"select * from {dataset} order by pub_date desc limit 1")[0]
        found = mirror.read(query(wire(row["ts_code"]), start_date=row["pub_date"], end_date=row["pub_date"]))
        expected = [dict(row, key=(wire(row["ts_code"]), row["stat_date"]))]
        count += mirror.same(found, expected, ["code", stat], {published: "pub_date"}, dataset)
    return count


def check_dividends(mirror):
    row = mirror.rows("select * from dividend_plan limit 1")[0]
    columns = {
        "dividPlanAnnounceDate": "plan_ann_date", "dividOperateDate": "ex_date", "dividCashPsBeforeTax": "cash_before_tax",
        "dividCashStock": "plan_text", "dividStocksPs": "stock_per_share", "dividCashPsAfterTax": "cash_after_tax"}
    expected = [dict(row, key=(wire(row["ts_code"]),))]
    for kind, year in (("report", row["plan_year"]), ("operate", row["ex_date"][:4])):
        found = mirror.read(baostock.query_dividend_data(code=wire(row["ts_code"]), year=str(year), yearType=kind))
        mirror.same(found, expected, ["code"], columns, f"dividends by {kind}")
    code = mirror.one("select ts_code from ex_factor limit 1")
    events = mirror.rows("select * from ex_factor where ts_code = ?", code)
    expected = [dict(row, key=(wire(code), row["ex_date"])) for row in events]
    found = mirror.read(baostock.query_adjust_factor(code=wire(code), start_date="2020-01-01", end_date="2024-12-31"))
    return 2 + mirror.same(found, expected, ["code", "dividOperateDate"], {
        "foreAdjustFactor": "fore_factor", "backAdjustFactor": "back_factor", "adjustFactor": "adj_factor"}, "factors")


def check_whole_day(mirror):
    if not hasattr(baostock, "query_daily_history_k_AStock"):
        return 0
    day = mirror.one("select max(trade_date) from daily")
    found = mirror.read(baostock.query_daily_history_k_AStock(date=day))
    traded = [row for row in found if row["tradestatus"] == "1"]
    rows = mirror.rows("select * from daily where trade_date = ? and ts_code not like '%.BJ'", day)
    expected = [dict(row, key=(row["trade_date"], wire(row["ts_code"]))) for row in rows]
    count = mirror.same(traded, expected, ["date", "code"], BARS, "whole day")
    ex = mirror.one("select ex_date from ex_factor limit 1")
    events = [dict(row, key=(wire(row["ts_code"]),)) for row in mirror.rows("select * from ex_factor where ex_date = ?", ex)]
    found = mirror.read(baostock.query_daily_adjust_factor(date=ex))
    mirror.read(baostock.query_daily_history_k_ETF(date=day), code="10004015")
    return count + mirror.same(found, events, ["code"], {"backAdjustFactor": "back_factor"}, "factors of a day")


def check_refusals(mirror):
    """Empty answers and refusals, after which the session goes on."""
    bars = lambda fields, **more: baostock.query_history_k_data_plus(
        "sh.699999", fields, start_date="2024-01-02", end_date="2024-01-31", **more)
    expect(mirror.read(bars("date,code")) == [], "an unknown security has rows")
    mirror.read(bars("date,price"), code="10004012")
    mirror.read(bars("date,code", frequency="5"), code="10004015")
    mirror.read(baostock.query_profit_data("sh.600000", year=1989, quarter=1), code="0")
    expect(mirror.read(baostock.query_trade_dates("2024-01-02", "2024-01-02")) != [], "the session ended")
    return 4


CHECKS = [
    check_calendar, check_daily, check_pages, check_other_bars, check_adjusted, check_lists, check_reports,
    check_dividends, check_whole_day, check_refusals,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", required=True, help="host and port of the mirror")
    parser.add_argument("--password", required=True, help="a token that the mirror accepts")
    parser.add_argument("--store", required=True, help="the SQLite file that the mirror serves")
    arguments = parser.parse_args()
    host, port = arguments.address.rsplit(":", 1)
    constants.BAOSTOCK_SERVER_IP, constants.BAOSTOCK_SERVER_PORT = host, int(port)
    store = sqlite3.connect(f"file:{pathlib.Path(arguments.store).resolve()}?mode=ro", uri=True)
    mirror, failed = Mirror(store), 0
    refused = baostock.login("anonymous", "wrong")
    expect(refused.error_code == "10001002", f"a wrong password is answered with {refused.error_code}")
    expect(baostock.login("anonymous", arguments.password).error_code == "0", "login")
    version = importlib.metadata.version("baostock")
    for check in CHECKS:
        try:
            print(f"{version} {check.__name__}: {check(mirror)} rows")
        except Difference as difference:
            failed += 1
            print(f"{version} {check.__name__}: DIFFERS: {difference}")
    expect(baostock.logout().error_code == "0", "logout")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
