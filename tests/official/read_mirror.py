#!/usr/bin/env python3
"""Reads every table of a running mirror with the unmodified `tushare` package and compares it with the store.

    read_mirror.py --url http://127.0.0.1:7878 --token TOKEN --store tidegate.db --catalog catalog

The store is opened with Python's own sqlite3 and the catalogue is read from its TOML files, so nothing of Tidegate's own
code judges Tidegate. For each table it asks one natural question (the first cut of its catalogue file, at the newest
point of time stored) and expects, value for value:

- the default columns in the catalogue's order, and those sent on request when they are named;
- every stored row of that area and no other, exactly once, also when read in small pages with `limit` and `offset`;
- Tushare's units and forms (lots, thousands of yuan, `YYYYMMDD`, numbers as text) computed exactly from the stored ones.

Then it expects a missing parameter, an unknown table and a wrong token to raise Tushare's Chinese messages; the mirror
must be started with a list of tokens. Prints a line for each table and leaves with 1 when anything differs.
"""

import argparse
import collections
import decimal
import itertools
import pathlib
import sqlite3
import sys

import pandas
import tushare

try:
    import tomllib
except ImportError:  # Python before 3.11
    import tomli as tomllib

# Canonical unit divided by Tushare's unit. A unit that is missing here fails the table that uses it.
DIVISORS = {
    "lot": 100,
    "share_10k": 10_000,
    "share_100m": 100_000_000,
    "CNY_1k": 1_000,
    "CNY_10k": 10_000,
    "CNY_1m": 1_000_000,
    "CNY_100m": 100_000_000,
}
# Rows asked for at once where the table has no row cap.
PAGE_ROWS = 5_000
# Rows of the pages that prove paging.
SMALL_PAGE_ROWS = 7
# Rows up to which a table is also read in small pages.
SMALL_PAGES_MAX = 12
DIFFERENCES_SHOWN = 3

decimal.getcontext().prec = 60


class Difference(Exception):
    """The mirror's answer is not what the store holds."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="where the mirror answers")
    parser.add_argument("--token", required=True, help="a token that the mirror accepts")
    parser.add_argument("--store", required=True, help="the SQLite file that the mirror serves")
    parser.add_argument("--catalog", required=True, help="the folder with the dataset files")
    parser.add_argument("--empty", default="", help="tables that may be without rows, separated by commas")
    arguments = parser.parse_args()

    datasets = [tomllib.loads(path.read_text("utf-8")) for path in sorted(pathlib.Path(arguments.catalog).glob("*.toml"))]
    datasets = [dataset for dataset in datasets if "tushare" in dataset]
    for dataset in datasets:
        for column in dataset["columns"]:
            column["key"] = dataset["key"]
    if not datasets:
        sys.exit(f"no dataset of Tushare in {arguments.catalog}")
    store = sqlite3.connect(f"file:{pathlib.Path(arguments.store).resolve()}?mode=ro", uri=True)
    client = client_of(arguments.url, arguments.token)
    may_be_empty = set(filter(None, arguments.empty.split(",")))

    checks = [(dataset["name"], check_table, (client, store, dataset, may_be_empty)) for dataset in datasets]
    checks.append(("a missing parameter", check_missing_parameter, (client, datasets)))
    checks.append(("an unknown table", check_refusal, (client, "no_such_table", "请指定正确的接口名")))
    wrong = client_of(arguments.url, arguments.token + "-wrong")
    checks.append(("a wrong token", check_refusal, (wrong, datasets[0]["tushare"]["api"], "您的token不对")))

    failed = 0
    for title, check, given in checks:
        try:
            print(f"ok    {title}: {check(*given)}", flush=True)
        except Exception as error:  # every table is reported, whatever one of them does
            failed += 1
            print(f"WRONG {title}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def client_of(url, token):
    client = tushare.pro_api(token)
    client._DataApi__http_url = url.rstrip("/")
    return client


def check_table(client, store, dataset, may_be_empty):
    name, wire = dataset["name"], dataset["tushare"]
    columns = [column for column in dataset["columns"] if "derived" not in column]
    default = [column for column in columns if not column.get("on_request")]
    area = area_of(store, dataset)
    if area is None:
        if name not in may_be_empty:
            raise Difference("the store holds no row of it")
        return "no rows"
    where, values, parameters = area

    expected = stored_rows(store, name, default, where, values)
    page_rows = wire.get("row_cap", PAGE_ROWS)
    compare(expected, read_all(client, wire, parameters, default, "", page_rows))
    on_request = [column for column in columns if column.get("on_request")]
    if on_request:
        fields = ",".join(column["name"] for column in columns)
        compare(stored_rows(store, name, columns, where, values), read_all(client, wire, parameters, columns, fields, page_rows))
    if len(expected) <= SMALL_PAGE_ROWS * SMALL_PAGES_MAX:
        compare(expected, read_all(client, wire, parameters, default, "", SMALL_PAGE_ROWS))
    else:
        check_first_pages(client, wire, parameters, default)
    shown = ", ".join(f"{key}={value}" for key, value in parameters.items()) or "everything"
    return f"{len(expected)} rows, {len(columns)} columns, {shown}"


def area_of(store, dataset):
    """The SQL condition, its values and the parameters of one natural question; None when the table is empty."""
    name, cut = dataset["name"], dataset["tushare"]["cuts"][0]
    names = {column["name"] for column in dataset["columns"]}
    filters = dataset["tushare"].get("filters", {})

    def column_of(parameter, otherwise):
        return filters.get(parameter, parameter if parameter in names else otherwise)

    def one(expression):
        return store.execute(f'select {expression} from "{name}"').fetchone()

    if one("count(*)")[0] == 0:
        return None
    kind = cut["by"]
    if kind == "whole":
        return "true", (), {}
    if kind in ("day", "period"):
        column = column_of(cut[kind], dataset["time"])
        newest = one(f'max("{column}")')[0]
        return f'"{column}" = ?', (newest,), {cut[kind]: compact(newest)}
    if kind == "range":
        low, high = one(f'min("{dataset["time"]}"), max("{dataset["time"]}")')
        return f'"{dataset["time"]}" between ? and ?', (low, high), {cut["from"]: compact(low), cut["to"]: compact(high)}
    if kind == "security":
        column = column_of(cut["security"], dataset["security"])
        security = one(f'min("{column}")')[0]
        return f'"{column}" = ?', (security,), {cut["security"]: security}
    raise Difference(f"the cut {kind!r} is unknown to this script")


def stored_rows(store, name, columns, where, values):
    listed = ", ".join(f'"{column["name"]}"' for column in columns)
    rows = store.execute(f'select {listed} from "{name}" where {where}', values)
    return [tuple(wire_value(column, value) for column, value in zip(columns, row)) for row in rows]


def wire_value(column, value):
    """A stored value as the client must receive it."""
    if value is None:
        return None
    kind, form = column["type"], column.get("tushare_form")
    if kind == "date":
        return compact(value)
    if kind == "text" and value == "" and column["name"] in column["key"] and column.get("nullable"):
        return None  # the store keeps a missing part of a key as empty text
    if kind in ("text", "datetime"):
        return value.partition("+")[0].replace("T", " ") if kind == "datetime" else value
    number = decimal.Decimal(repr(value) if isinstance(value, float) else value)
    unit = column.get("tushare_unit", column["unit"])
    if unit != column["unit"]:
        number /= DIVISORS[unit]
    return number.normalize() if form == "text" else float(number)


def received_value(column, value):
    """A value as the client received it, in the same shape as `wire_value`."""
    if value is None or (not isinstance(value, str) and pandas.isna(value)):
        return None
    form = column.get("tushare_form")
    if column["type"] in ("int", "decimal", "float"):
        if isinstance(value, str) != (form == "text"):
            raise Difference(f"{column['name']} came as {type(value).__name__}")
        return decimal.Decimal(value).normalize() if form == "text" else float(value)
    if form == "integer":
        if isinstance(value, str):
            raise Difference(f"{column['name']} came as text, not as a number")
        return str(int(value))
    if not isinstance(value, str):
        raise Difference(f"{column['name']} came as {type(value).__name__}, not as text")
    return value


def read_all(client, wire, parameters, columns, fields, page_rows):
    """Every row of a question: for each combination of facet values, page by page."""
    facets = wire.get("facets", {})
    rows = []
    for combination in itertools.product(*facets.values()):
        asked = {**parameters, **wire.get("always", {}), **dict(zip(facets, combination))}
        offset = 0
        while True:
            page = read_page(client, wire, asked, columns, fields, offset, page_rows)
            rows.extend(page)
            offset += len(page)
            if len(page) < page_rows:
                break
    return rows


def read_page(client, wire, asked, columns, fields, offset, limit):
    frame = client.query(wire["api"], fields=fields, offset=offset, limit=limit, **asked)
    names = [column["name"] for column in columns]
    if list(frame.columns) != names:
        raise Difference(f"columns {list(frame.columns)} instead of {names}")
    if len(frame) > limit:
        raise Difference(f"{len(frame)} rows where {limit} were asked for")
    return [tuple(map(received_value, columns, row)) for row in frame.astype(object).itertuples(index=False, name=None)]


def check_first_pages(client, wire, parameters, columns):
    """Three small pages are the three parts of one larger page."""
    facets = {name: values[0] for name, values in wire.get("facets", {}).items()}
    asked = {**parameters, **wire.get("always", {}), **facets}
    whole = read_page(client, wire, asked, columns, "", 0, 3 * SMALL_PAGE_ROWS)
    parts = [read_page(client, wire, asked, columns, "", page * SMALL_PAGE_ROWS, SMALL_PAGE_ROWS) for page in range(3)]
    if whole != list(itertools.chain(*parts)):
        raise Difference("small pages do not add up to the large one")


def compare(expected, received):
    missing = collections.Counter(expected) - collections.Counter(received)
    foreign = collections.Counter(received) - collections.Counter(expected)
    if missing or foreign:
        some = [list(itertools.islice(rows, DIFFERENCES_SHOWN)) for rows in (missing, foreign)]
        counts = f"{missing.total()} rows missing, {foreign.total()} not in the store"
        raise Difference(f"{counts}; expected {some[0]}; received {some[1]}")


def check_missing_parameter(client, datasets):
    needy = [dataset for dataset in datasets if dataset["tushare"].get("required")]
    for dataset in needy:
        check_refusal(client, dataset["tushare"]["api"], "必填参数")
    return f"refused by {len(needy)} tables"


def check_refusal(client, api, text):
    try:
        frame = client.query(api)
    except Exception as error:  # the client raises nothing more precise
        if text not in str(error):
            raise Difference(f"{api} was refused with {error}, not with {text}") from error
        return f"refused with {error}"
    raise Difference(f"{api} answered {len(frame)} rows instead of refusing")


def compact(day):
    return str(day).replace("-", "")


if __name__ == "__main__":
    main()
