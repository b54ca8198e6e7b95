#!/usr/bin/env python3
"""Reads a mirror as users of AKTools do, with requests and pandas, and compares it with the store.

    read_aktools_mirror.py --url http://127.0.0.1:8080 --store tidegate.db

The store is opened with Python's own sqlite3, so nothing of Tidegate's own code judges Tidegate."""

import argparse
import sqlite3
import sys

import pandas
import requests


class Difference(Exception):
    pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--store", required=True)
    arguments = parser.parse_args()
    store = sqlite3.connect(f"file:{arguments.store}?mode=ro", uri=True)
    client = Client(arguments.url)
    failed = 0
    for check in CHECKS:
        try:
            print(f"ok    {check.__name__}: {check(client, store)}")
        except Exception as error:  # every function is reported
            failed += 1
            print(f"WRONG {check.__name__}: {type(error).__name__}: {error}")
    sys.exit(1 if failed else 0)


class Client:
    def __init__(self, url):
        self.url = url

    def rows(self, function, **params):
        answer = requests.get(f"{self.url}/api/public/{function}", params=params, timeout=60)
        if answer.status_code != 200 or answer.headers["content-type"] != "application/json":
            raise Difference(f"{answer.status_code} {answer.headers['content-type']} {answer.text[:200]}")
        return answer.json()


def equal(expected, received):
    if expected != received:
        pairs = [pair for pair in zip(expected, received) if pair[0] != pair[1]]
        raise Difference(f"{len(expected)} rows expected, {len(received)} received; first difference {pairs[:1]}")
    if not expected:
        raise Difference("nothing to compare")
    return f"{len(expected)} rows"


def iso(day):
    return f"{day}T00:00:00.000" if day else None


def lots(shares):
    return round(shares / 100)


def bars(client, store):
    seen = 0
    for period, table in (("daily", "daily"), ("weekly", "weekly"), ("monthly", "monthly")):
        factor = 1 if period == "daily" else 100
        codes = [code for (code,) in store.execute(f"select distinct ts_code from {table} order by 1 limit 5")]
        for code in codes:
            stored = store.execute(
                f"select b.trade_date, b.open, b.close, b.high, b.low, b.vol, b.amount, b.pct_chg, b.change, d.turnover_rate"
                f" from {table} b left join daily_basic d on d.ts_code = b.ts_code and d.trade_date = b.trade_date and ? = 'daily'"
                f" where b.ts_code = ? and b.trade_date between '2024-01-10' and '2024-02-02' order by 1",
                (period, code),
            )
            expected = [
                [iso(row[0]), code[:6], *row[1:5], lots(row[5]), row[6], round(row[7] * factor, 6), row[8], row[9]]
                for row in stored
            ]
            found = client.rows(
                "stock_zh_a_hist", symbol=code[:6], period=period, start_date="20240110", end_date="20240202", adjust=""
            )
            names = ["日期", "股票代码", "开盘", "收盘", "最高", "最低", "成交量", "成交额", "振幅", "涨跌幅", "涨跌额", "换手率"]
            if any(list(row) != names for row in found):
                raise Difference(f"other columns or another order: {list(found[0])}")
            if not all(isinstance(row["成交量"], int) and isinstance(row["开盘"], float) for row in found):
                raise Difference("other types")
            del names[8]
            equal(expected, [[row[name] for name in names] for row in found]) if expected else None
            frame = pandas.DataFrame(found)
            pandas.to_datetime(frame["日期"]) if len(frame) else None
            seen += len(expected)
    if not seen:
        raise Difference("no bars")
    return f"{seen} bars"


def adjusted_bars(client, store):
    """hfq is raw times factor; qfq is that over the newest factor."""
    seen = moved = 0
    codes = [code for (code,) in store.execute("select ts_code from adj_factor group by 1 order by count(distinct adj_factor) desc limit 5")]
    for code in codes:
        stored = store.execute(
            "select b.trade_date, b.close, f.adj_factor from daily b join adj_factor f using (ts_code, trade_date)"
            " where ts_code = ? order by 1",
            (code,),
        ).fetchall()
        (newest,) = store.execute("select adj_factor from adj_factor where ts_code = ? order by trade_date desc limit 1", (code,)).fetchone()
        for adjust, base in (("hfq", 1), ("qfq", newest)):
            found = {row["日期"][:10]: row["收盘"] for row in client.rows("stock_zh_a_hist", symbol=code[:6], adjust=adjust)}
            if found.keys() != {day for day, _, _ in stored}:
                raise Difference(f"{code} {adjust}: other days")
            for day, close, factor in stored:
                if abs(found[day] - close * factor / base) > 0.0051:
                    raise Difference(f"{code} {adjust} {day}: {found[day]}, not {close * factor / base}")
                moved += abs(found[day] - close) > 0.01
            seen += len(stored)
    if not moved:
        raise Difference("no price was adjusted")
    return f"{seen} prices"


def codes_and_names(client, store):
    stored = store.execute("select symbol, name from stock_basic where list_status <> 'D' order by ts_code")
    return equal([{"code": code, "name": name} for code, name in stored], client.rows("stock_info_a_code_name"))


def trading_days(client, store):
    stored = store.execute("select cal_date from trade_cal where exchange = 'SSE' and is_open = 1 order by 1")
    return equal([{"trade_date": iso(day)} for (day,) in stored], client.rows("tool_trade_date_hist_sina"))


def disclosure_plans(client, store):
    stored = store.execute(
        "select d.ts_code, b.name, d.pre_date, d.actual_date from disclosure_date d left join stock_basic b using (ts_code)"
        " where d.end_date = '2023-12-31' order by d.pre_date, d.ts_code"
    )
    expected = [
        {
            "序号": number,
            "股票代码": code[:6],
            "股票简称": name,
            "首次预约时间": iso(planned),
            "一次变更日期": None,
            "二次变更日期": None,
            "三次变更日期": None,
            "实际披露时间": iso(actual),
        }
        for number, (code, name, planned, actual) in enumerate(stored, 1)
    ]
    equal(expected, client.rows("stock_yysj_em", symbol="沪深A股", date="20231231"))
    shanghai = [row["股票代码"] for row in expected if row["股票代码"][0] == "6"]
    found = [row["股票代码"] for row in client.rows("stock_yysj_em", symbol="沪市A股", date="20231231")]
    return equal(shanghai, [code for code in found if code[0] == "6"])


def quotes(client, store):
    stored = store.execute("select ts_code, close, vol, amount from spot order by pct_chg desc nulls last, ts_code").fetchall()
    found = client.rows("stock_zh_a_spot_em")
    expected = {code[:6]: [close, None if vol is None else vol / 100, amount] for code, close, vol, amount in stored}
    equal(sorted(expected.items()), sorted((row["代码"], [row["最新价"], row["成交量"], row["成交额"]]) for row in found))
    changes = [row["涨跌幅"] for row in found if row["涨跌幅"] is not None]
    if changes != sorted(changes, reverse=True) or [row["序号"] for row in found] != list(range(1, len(found) + 1)):
        raise Difference("another order")
    return f"{len(found)} quotes"


def company(client, store):
    code, name, shares, listed = store.execute("select ts_code, name, total_share, list_date from company_snapshot").fetchone()
    items = {row["item"]: row["value"] for row in client.rows("stock_individual_info_em", symbol=code[:6])}
    expected = [code[:6], name, shares, int(listed.replace("-", ""))]
    return equal(expected, [items[name] for name in ("股票代码", "股票简称", "总股本", "上市时间")])


def key_figures(client, store):
    (code,) = store.execute("select min(ts_code) from financial_abstract").fetchone()
    stored = store.execute("select section, indicator, end_date, value from financial_abstract where ts_code = ?", (code,))
    expected = sorted((section, indicator, day.replace("-", ""), value) for section, indicator, day, value in stored)
    found = client.rows("stock_financial_abstract", symbol=code[:6])
    periods = [name for name in found[0] if name.isdigit()]
    if periods != sorted(periods, reverse=True) or list(found[0])[:2] != ["选项", "指标"]:
        raise Difference(f"other columns {list(found[0])}")
    received = [(row["选项"], row["指标"], day, row[day]) for row in found for day in periods if row[day] is not None]
    return equal(expected, sorted(received))


def ratios(client, store):
    (code,) = store.execute("select min(ts_code) from financial_analysis").fetchone()
    stored = store.execute(
        "select end_date, eps_diluted, debt_asset, total_assets from financial_analysis where ts_code = ? order by 1", (code,)
    ).fetchall()
    found = client.rows("stock_financial_analysis_indicator", symbol=code[:6], start_year="2023")
    if len(found[0]) != 86 or list(found[0])[0] != "日期":
        raise Difference(f"{len(found[0])} columns, the first is {list(found[0])[0]}")
    names = ["日期", "摊薄每股收益(元)", "资产负债率(%)", "总资产(元)"]
    expected = [[iso(row[0]), *row[1:]] for row in stored if row[0] >= "2023"]
    return equal(expected, [[row[name] for name in names] for row in found])


def results(client, store):
    stored = store.execute(
        "select ts_code, eps, revenue, net_profit, ann_date from earnings_report where end_date = '2023-12-31'"
        " order by ann_date desc, ts_code desc"
    )
    names = ["股票代码", "每股收益", "营业总收入-营业总收入", "净利润-净利润", "最新公告日期"]
    found = client.rows("stock_yjbb_em", date="20231231")
    return equal([[row[0][:6], *row[1:4], iso(row[4])] for row in stored], [[row[name] for name in names] for row in found])


def forecasts(client, store):
    stored = store.execute(
        "select ts_code, item, forecast, last_year from earnings_forecast where end_date = '2023-12-31' order by 1, 2"
    )
    names = ["股票代码", "预测指标", "预测数值", "上年同期值"]
    found = [[row[name] for name in names] for row in client.rows("stock_yjyg_em", date="20231231")]
    return equal(sorted([row[0][:6], *row[1:]] for row in stored), sorted(found))


def nothing_and_faults(client, store):
    if client.rows("stock_zh_a_hist", symbol="999999") != []:
        raise Difference("an unknown code has bars")
    for function, params, status in [
        ("no_such_function", {}, 404),
        ("stock_zh_a_hist", {"period": "hourly"}, 404),
        ("stock_zh_a_hist", {"code": "000001"}, 500),
        ("stock_individual_info_em", {"symbol": "999999"}, 500),
    ]:
        answer = requests.get(f"{client.url}/api/public/{function}", params=params, timeout=60)
        if answer.status_code != status or (status == 404 and "error" not in answer.json()):
            raise Difference(f"{function}: {answer.status_code} {answer.text}")
    return "refused as there"


CHECKS = [
    bars,
    adjusted_bars,
    codes_and_names,
    trading_days,
    disclosure_plans,
    quotes,
    company,
    key_figures,
    ratios,
    results,
    forecasts,
    nothing_and_faults,
]

if __name__ == "__main__":
    main()
