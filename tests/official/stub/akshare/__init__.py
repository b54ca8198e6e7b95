"""Stands in for akshare under the real AKTools: functions of the real names and parameters with answers of the real
types (dates as `datetime.date`, missing values as NaN, whole and broken numbers), and without the network."""

import datetime
import math

import pandas

__version__ = "1.19.5"

NAN = math.nan


def day(text):
    return datetime.date.fromisoformat(text)


def stock_zh_a_hist(
    symbol="000001", period="daily", start_date="19700101", end_date="20500101", adjust="", timeout=None
):
    {"qfq": "1", "hfq": "2", "": "0"}[adjust]
    days = {"daily": ["2023-12-29", "2024-01-02", "2024-01-03"], "weekly": ["2023-12-29", "2024-01-05"], "monthly": ["2023-12-29", "2024-01-31"]}[period]
    if symbol not in ("000001", "600000", "920001"):
        return pandas.DataFrame()
    frame = pandas.DataFrame(
        {
            "日期": [day(text) for text in days],
            "股票代码": symbol,
            "开盘": [9.39, 9.4, 9.19][: len(days)],
            "收盘": [9.39, 9.21, 9.2][: len(days)],
            "最高": [9.42, 9.42, 9.22][: len(days)],
            "最低": [9.35, 9.2, 9.15][: len(days)],
            "成交量": [1000000, 1158366, 733610][: len(days)],
            "成交额": [939000000.0, 1075742252.45, 673673613.54][: len(days)],
            "振幅": [0.75, 2.34, 0.76][: len(days)],
            "涨跌幅": [0.11, -1.92, -0.11][: len(days)],
            "涨跌额": [0.01, -0.18, -0.01][: len(days)],
            "换手率": [0.52, 0.6, 0.38][: len(days)],
        }
    )
    lower, upper = (datetime.datetime.strptime(text, "%Y%m%d").date() for text in (start_date, end_date))
    return frame[[lower <= value <= upper for value in frame["日期"]]].reset_index(drop=True)


def stock_info_a_code_name():
    return pandas.DataFrame({"code": ["600000", "688001", "000001", "000002", "920001"], "name": ["浦发银行", "华兴源创", "平安银行", "万  科Ａ", "纬达光电"]})


def stock_zh_a_spot_em():
    return pandas.DataFrame(
        {
            "序号": [1, 2],
            "代码": ["920001", "000001"],
            "名称": ["纬达光电", "平安银行"],
            "最新价": [18.5, NAN],
            "涨跌幅": [30.0, NAN],
            "涨跌额": [4.27, NAN],
            "成交量": [52345.67, NAN],
            "成交额": [96839499.5, NAN],
            "振幅": [12.3, NAN],
            "最高": [18.5, NAN],
            "最低": [14.23, NAN],
            "今开": [14.3, NAN],
            "昨收": [14.23, 9.21],
            "量比": [3.21, NAN],
            "换手率": [8.04, NAN],
            "市盈率-动态": [45.67, -3.2],
            "市净率": [3.1, 0.45],
            "总市值": [2843000000.0, 178728000000.0],
            "流通市值": [1021000000.0, 178725000000.0],
            "涨速": [0.0, NAN],
            "5分钟涨跌": [-0.05, NAN],
            "60日涨跌幅": [55.5, 1.25],
            "年初至今涨跌幅": [60.01, -2.0],
        }
    )


def tool_trade_date_hist_sina():
    return pandas.DataFrame({"trade_date": [day("2024-12-27"), day("2024-12-30"), day("2024-12-31")]})


def stock_individual_info_em(symbol="603777", timeout=None):
    if symbol != "000002":
        raise TypeError("no data")
    items = {
        "最新": 7.05,
        "股票代码": "000002",
        "股票简称": "万  科Ａ",
        "总股本": 11930709471.0,
        "流通股": 9716935865.0,
        "总市值": 84111501770.55,
        "流通市值": 68504397848.25,
        "行业": "房地产开发",
        "上市时间": 19910129,
    }
    return pandas.DataFrame({"item": list(items), "value": list(items.values())})


def stock_financial_abstract(symbol="600004"):
    return pandas.DataFrame(
        {
            "选项": ["常用指标", "常用指标", "每股指标"],
            "指标": ["归母净利润", "基本每股收益", "基本每股收益"],
            "20240331": [192000000.0, 0.08, 0.08],
            "20231231": [441856790.12, 0.19, NAN],
        }
    )


def stock_financial_analysis_indicator(symbol="600004", start_year="1900"):
    return pandas.DataFrame(
        {
            "日期": [day("2023-12-31"), day("2024-03-31")],
            "摊薄每股收益(元)": [0.1867, 0.0811],
            "总资产（元）": [27013004521.17, 27100000000.0],
            "资产负债率(%)": [31.4821, NAN],
        }
    )


def stock_yjbb_em(date="20200331"):
    if date != "20231231":
        raise TypeError("'NoneType' object is not subscriptable")
    return pandas.DataFrame(
        {
            "序号": [1, 2],
            "股票代码": ["600519", "400001"],
            "股票简称": ["贵州茅台", "大自然5"],
            "每股收益": [59.49, NAN],
            "营业总收入-营业总收入": [150560330316.45, 1234567.0],
            "营业总收入-同比增长": [18.0352921, NAN],
            "营业总收入-季度环比增长": [31.9123, NAN],
            "净利润-净利润": [74734071550.75, -98765.43],
            "净利润-同比增长": [19.1599, NAN],
            "净利润-季度环比增长": [29.3421, NAN],
            "每股净资产": [171.676, 0.5],
            "净资产收益率": [34.19, NAN],
            "每股经营现金流量": [53.012, NAN],
            "销售毛利率": [91.9635, NAN],
            "所处行业": ["酿酒行业", None],
            "最新公告日期": [day("2024-04-03"), day("2024-04-29")],
        }
    )


def stock_yjyg_em(date="20200331"):
    return pandas.DataFrame(
        {
            "序号": [1, 2],
            "股票代码": ["000001", "000001"],
            "股票简称": ["平安银行", "平安银行"],
            "预测指标": ["归属于上市公司股东的净利润", "每股收益"],
            "业绩变动": ["预计2023年1-12月盈利46亿元", "预计每股收益2.25元"],
            "预测数值": [46455000000.0, 2.25],
            "业绩变动幅度": [2.1, NAN],
            "业绩变动原因": ["主营业务", None],
            "预告类型": ["略增", "略增"],
            "上年同期值": [45516000000.0, 2.2],
            "公告日期": [day("2024-01-20"), day("2024-01-20")],
        }
    )


def stock_yysj_em(symbol="沪深A股", date="20200331"):
    assert symbol == "沪深A股", symbol
    return pandas.DataFrame(
        {
            "序号": [1, 2],
            "股票代码": ["000001", "600000"],
            "股票简称": ["平安银行", "浦发银行"],
            "首次预约时间": [day("2024-03-15"), day("2024-04-30")],
            "一次变更日期": [pandas.NaT, day("2024-04-27")],
            "二次变更日期": [pandas.NaT, pandas.NaT],
            "三次变更日期": [pandas.NaT, pandas.NaT],
            "实际披露时间": [day("2024-03-15"), pandas.NaT],
        }
    )


def answers_none(**parameters):
    return None


def fails(**parameters):
    raise ValueError("a page that did not load")
