//! Companies' figures as pure functions of company and quarter, in fen, with every identity exact.

use crate::model::Day;

use super::core::Core;
use super::dice::Stream;
use super::securities::Stock;

/// A calendar quarter; quarter 4 is the annual report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarter {
    pub year: i16,
    pub quarter: u8,
}

impl Quarter {
    /// The quarter that `day` lies in.
    pub fn of(day: Day) -> Quarter {
        Quarter { year: day.year(), quarter: ((day.month() + 2) / 3) as u8 }
    }

    pub fn end(self) -> Day {
        Day::new(self.year, self.quarter as i8 * 3, 1).map_or(Day::MAX, Day::month_end)
    }

    pub fn previous(self) -> Quarter {
        match self.quarter {
            1 => Quarter { year: self.year - 1, quarter: 4 },
            quarter => Quarter { year: self.year, quarter: quarter - 1 },
        }
    }

    pub fn next(self) -> Quarter {
        match self.quarter {
            4 => Quarter { year: self.year + 1, quarter: 1 },
            quarter => Quarter { year: self.year, quarter: quarter + 1 },
        }
    }

    pub fn year_before(self) -> Quarter {
        Quarter { year: self.year - 1, ..self }
    }

    fn number(self) -> u64 {
        self.year as u64 * 4 + u64::from(self.quarter)
    }
}

/// The day on which a report is published: inside the season that the law gives it, never at a weekend.
pub fn report_day(core: &Core, stock: &Stock, quarter: Quarter) -> Day {
    let mut dice = core.dice(Stream::Report, u64::from(stock.number), quarter.number());
    let late = dice.unit().max(dice.unit());
    let (year, from, to) = match quarter.quarter {
        4 => (quarter.year + 1, (1, 20), (4, 28)),
        1 => (quarter.year, (4, 12), (4, 30)),
        2 => (quarter.year, (7, 15), (8, 31)),
        _ => (quarter.year, (10, 10), (10, 31)),
    };
    let (Some(from), Some(to)) = (Day::new(year, from.0, from.1), Day::new(year, to.0, to.1)) else { return Day::MAX };
    let mut day = from.plus((f64::from(to.0 - from.0) * late) as i32);
    if quarter.quarter == 1 {
        day = day.max(report_day(core, stock, quarter.previous()));
    }
    while day.is_weekend() {
        day = day.previous();
    }
    day
}

/// One quarter's income, or several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Income {
    pub revenue: i64,
    pub cost: i64,
    pub surcharges: i64,
    pub selling: i64,
    pub admin: i64,
    pub research: i64,
    pub finance: i64,
    pub investment: i64,
    pub impairment: i64,
    pub other_gain: i64,
    pub other_loss: i64,
    pub tax: i64,
    pub minority: i64,
}

impl Income {
    pub fn total_cost(&self) -> i64 {
        self.cost + self.surcharges + self.selling + self.admin + self.research + self.finance + self.impairment
    }

    pub fn operating_profit(&self) -> i64 {
        self.revenue - self.total_cost() + self.investment
    }

    pub fn total_profit(&self) -> i64 {
        self.operating_profit() + self.other_gain - self.other_loss
    }

    pub fn net(&self) -> i64 {
        self.total_profit() - self.tax
    }

    pub fn attributable(&self) -> i64 {
        self.net() - self.minority
    }

    fn plus(self, other: Income) -> Income {
        Income {
            revenue: self.revenue + other.revenue,
            cost: self.cost + other.cost,
            surcharges: self.surcharges + other.surcharges,
            selling: self.selling + other.selling,
            admin: self.admin + other.admin,
            research: self.research + other.research,
            finance: self.finance + other.finance,
            investment: self.investment + other.investment,
            impairment: self.impairment + other.impairment,
            other_gain: self.other_gain + other.other_gain,
            other_loss: self.other_loss + other.other_loss,
            tax: self.tax + other.tax,
            minority: self.minority + other.minority,
        }
    }
}

/// What a company is like all its life.
#[derive(Clone, Copy, Debug)]
struct Character {
    /// Revenue in fen of the year of its listing.
    revenue: f64,
    /// Yearly growth as a factor.
    growth: f64,
    /// Profit before tax as a share of revenue.
    margin: f64,
    /// Assets as a multiple of yearly revenue.
    assets: f64,
    /// Equity as a share of assets.
    equity: f64,
}

fn character(core: &Core, stock: &Stock) -> Character {
    let mut dice = core.dice(Stream::Base, u64::from(stock.number), 0);
    let value = stock.shares as f64 * stock.anchor_fen as f64;
    let share_permille = (stock.yield_permille.abs() * dice.between(4, 16)).max(60) as f64;
    Character {
        revenue: value * share_permille / 1000.0,
        growth: dice.between(1010, 1090) as f64 / 1000.0,
        margin: stock.yield_permille as f64 / share_permille * 1.18,
        assets: dice.between(80, 240) as f64 / 100.0,
        equity: dice.between(30, 75) as f64 / 100.0,
    }
}

fn grown(character: &Character, stock: &Stock, year: i16) -> f64 {
    let years = (year - stock.listed.year()).clamp(0, 40);
    (0..years).fold(character.revenue, |revenue, _| revenue * character.growth)
}

/// The income of a single quarter.
pub fn income_of(core: &Core, stock: &Stock, quarter: Quarter) -> Income {
    let character = character(core, stock);
    let mut dice = core.dice(Stream::Quarter, u64::from(stock.number), quarter.number());
    let season = [0.21, 0.24, 0.25, 0.30][usize::from(quarter.quarter.clamp(1, 4)) - 1];
    let revenue = grown(&character, stock, quarter.year) * season * (0.88 + 0.24 * dice.unit());
    let wanted = revenue * character.margin * (0.75 + 0.5 * dice.unit());
    let part = |share: f64| (revenue * share) as i64;
    let mut income = Income {
        revenue: revenue as i64,
        surcharges: part(0.006),
        selling: part(0.02 + 0.03 * dice.unit()),
        research: part(0.01 + 0.05 * dice.unit()),
        finance: part(0.015 * (dice.unit() - 0.3)),
        investment: part(0.02 * (dice.unit() - 0.2)),
        impairment: part(0.006 * dice.unit()),
        other_gain: part(0.004 * dice.unit()),
        other_loss: part(0.003 * dice.unit()),
        admin: part(0.03 + 0.03 * dice.unit()),
        ..Income::default()
    };
    income.cost = income.total_profit() - wanted as i64;
    let profit = income.total_profit();
    income.tax = if profit > 0 { profit * 15 / 100 } else { 0 };
    income.minority = income.net() * dice.between(0, 40) / 1000;
    income
}

/// From January 1 to the end of the quarter, as statements give it.
pub fn income_to_date(core: &Core, stock: &Stock, quarter: Quarter) -> Income {
    let quarters = (1..=quarter.quarter).map(|number| income_of(core, stock, Quarter { quarter: number, ..quarter }));
    quarters.fold(Income::default(), Income::plus)
}

/// The four quarters up to and with this one.
pub fn income_of_four(core: &Core, stock: &Stock, quarter: Quarter) -> Income {
    let quarters = std::iter::successors(Some(quarter), |quarter| Some(quarter.previous())).take(4);
    quarters.map(|quarter| income_of(core, stock, quarter)).fold(Income::default(), Income::plus)
}

/// The balance at the end of a quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    pub cash: i64,
    pub trading: i64,
    pub notes: i64,
    pub receivables: i64,
    pub prepayments: i64,
    pub other_receivables: i64,
    pub inventories: i64,
    pub other_current: i64,
    pub equity_investments: i64,
    pub fixed: i64,
    pub construction: i64,
    pub intangible: i64,
    pub goodwill: i64,
    pub deferred_tax: i64,
    pub other_long: i64,
    pub short_loans: i64,
    pub payables: i64,
    pub advances: i64,
    pub payroll: i64,
    pub taxes: i64,
    pub other_payables: i64,
    pub long_loans: i64,
    pub bonds: i64,
    pub other_long_debt: i64,
    pub capital: i64,
    pub capital_reserve: i64,
    pub surplus_reserve: i64,
    pub retained: i64,
    pub minority: i64,
}

impl Balance {
    pub fn current_assets(&self) -> i64 {
        self.cash
            + self.trading
            + self.notes
            + self.receivables
            + self.prepayments
            + self.other_receivables
            + self.inventories
            + self.other_current
    }

    pub fn long_assets(&self) -> i64 {
        self.equity_investments
            + self.fixed
            + self.construction
            + self.intangible
            + self.goodwill
            + self.deferred_tax
            + self.other_long
    }

    pub fn assets(&self) -> i64 {
        self.current_assets() + self.long_assets()
    }

    pub fn current_debt(&self) -> i64 {
        self.short_loans + self.payables + self.advances + self.payroll + self.taxes + self.other_payables
    }

    pub fn long_debt(&self) -> i64 {
        self.long_loans + self.bonds + self.other_long_debt
    }

    pub fn debt(&self) -> i64 {
        self.current_debt() + self.long_debt()
    }

    /// Equity of the parent's shareholders.
    pub fn parent_equity(&self) -> i64 {
        self.capital + self.capital_reserve + self.surplus_reserve + self.retained
    }

    pub fn equity(&self) -> i64 {
        self.parent_equity() + self.minority
    }
}

/// The shares at the end of a quarter.
pub fn shares_at(core: &Core, stock: &Stock, quarter: Quarter) -> i64 {
    core.story(stock.number).shares(core.sessions.number_from(quarter.end()))
}

pub fn balance_at(core: &Core, stock: &Stock, quarter: Quarter) -> Balance {
    let character = character(core, stock);
    let mut dice = core.dice(Stream::Balance, u64::from(stock.number), quarter.number());
    let within_year = 1.0 + (character.growth - 1.0) * f64::from(quarter.quarter) / 4.0;
    let assets = grown(&character, stock, quarter.year) * character.assets * within_year;
    let mut part = |low: i64, high: i64| (assets * dice.between(low, high) as f64 / 1000.0) as i64;
    let (trading, notes, receivables, prepayments) = (part(0, 40), part(0, 30), part(60, 160), part(5, 30));
    let (other_receivables, inventories, other_current) = (part(3, 20), part(40, 160), part(2, 20));
    let (equity_investments, fixed, construction) = (part(0, 60), part(100, 250), part(5, 60));
    let (intangible, goodwill, deferred_tax, other_long) = (part(10, 60), part(0, 40), part(2, 15), part(5, 30));
    let cash = cash_at(core, stock, quarter);
    let assets_sum = cash
        + trading
        + notes
        + receivables
        + prepayments
        + other_receivables
        + inventories
        + other_current
        + equity_investments
        + fixed
        + construction
        + intangible
        + goodwill
        + deferred_tax
        + other_long;
    let equity = (assets_sum as f64 * character.equity) as i64;
    let debt = assets_sum - equity;
    let share = |permille: i64| (i128::from(debt) * i128::from(permille) / 1000) as i64;
    let (short_loans, payables, advances, payroll) = (share(180), share(300), share(70), share(30));
    let (taxes, long_loans, bonds, other_long_debt) = (share(25), share(150), share(60), share(45));
    let other_payables =
        debt - short_loans - payables - advances - payroll - taxes - long_loans - bonds - other_long_debt;
    let minority = (equity as f64 * 0.03) as i64;
    let capital = shares_at(core, stock, quarter) * 100;
    let rest = equity - minority - capital;
    let (capital_reserve, surplus_reserve) = (rest / 100 * 45, rest / 100 * 8);
    let retained = rest - capital_reserve - surplus_reserve;
    Balance {
        cash,
        trading,
        notes,
        receivables,
        prepayments,
        other_receivables,
        inventories,
        other_current,
        equity_investments,
        fixed,
        construction,
        intangible,
        goodwill,
        deferred_tax,
        other_long,
        short_loans,
        payables,
        advances,
        payroll,
        taxes,
        other_payables,
        long_loans,
        bonds,
        other_long_debt,
        capital,
        capital_reserve,
        surplus_reserve,
        retained,
        minority,
    }
}

/// Cash at the end of a quarter: the figure that balance sheet and cash flow share.
pub fn cash_at(core: &Core, stock: &Stock, quarter: Quarter) -> i64 {
    let character = character(core, stock);
    let mut dice = core.dice(Stream::Cash, u64::from(stock.number), quarter.number());
    let assets = grown(&character, stock, quarter.year) * character.assets;
    (assets * dice.between(80, 240) as f64 / 1000.0) as i64
}

/// Cash flows from January 1 to the end of the quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CashFlow {
    pub sales: i64,
    pub tax_refunds: i64,
    pub other_in: i64,
    pub goods: i64,
    pub employees: i64,
    pub taxes: i64,
    pub other_out: i64,
    pub invested_back: i64,
    pub investment_income: i64,
    pub capital_spending: i64,
    pub invested: i64,
    pub borrowed: i64,
    pub repaid: i64,
    pub dividends: i64,
    pub exchange: i64,
    pub beginning: i64,
    pub end: i64,
}

impl CashFlow {
    pub fn operating_in(&self) -> i64 {
        self.sales + self.tax_refunds + self.other_in
    }

    pub fn operating_out(&self) -> i64 {
        self.goods + self.employees + self.taxes + self.other_out
    }

    pub fn operating(&self) -> i64 {
        self.operating_in() - self.operating_out()
    }

    pub fn investing(&self) -> i64 {
        self.invested_back + self.investment_income - self.capital_spending - self.invested
    }

    pub fn financing(&self) -> i64 {
        self.borrowed - self.repaid - self.dividends
    }
}

pub fn cash_flow_to_date(core: &Core, stock: &Stock, quarter: Quarter) -> CashFlow {
    let income = income_to_date(core, stock, quarter);
    let beginning = cash_at(core, stock, Quarter { year: quarter.year - 1, quarter: 4 });
    let end = cash_at(core, stock, quarter);
    let of = |value: i64, permille: i64| (i128::from(value) * i128::from(permille) / 1000) as i64;
    let revenue = income.revenue;
    let mut flow = CashFlow {
        sales: of(revenue, 1080),
        tax_refunds: of(revenue, 8),
        other_in: of(revenue, 20),
        goods: of(income.cost, 930),
        employees: of(revenue, 90),
        taxes: income.tax + of(revenue, 40),
        other_out: of(revenue, 50),
        invested_back: of(revenue, 120),
        investment_income: income.investment.max(0),
        capital_spending: of(revenue, 70),
        invested: of(revenue, 110),
        borrowed: of(revenue, 200),
        repaid: 0,
        dividends: income.attributable().max(0) / 4,
        exchange: of(revenue, 1),
        beginning,
        end,
    };
    let wanted = end - beginning - flow.operating() - flow.investing() - flow.exchange;
    flow.repaid = flow.borrowed - flow.dividends - wanted;
    if flow.repaid < 0 {
        flow.borrowed -= flow.repaid;
        flow.repaid = 0;
    }
    flow
}

/// The quarters of which a company publishes reports, newest last: from its listing on, as far as rows exist.
pub fn reported_quarters(core: &Core, stock: &Stock, span: crate::model::Span) -> impl Iterator<Item = Quarter> {
    let first = Quarter::of(core.days.from).previous().previous().end().max(stock.listed.plus(-100)).max(span.from);
    let last = span.to.min(core.days.to).min(stock.delisted.unwrap_or(Day::MAX).plus(-60));
    let start = Quarter::of(first);
    std::iter::successors(Some(start), |quarter| Some(quarter.next()))
        .take_while(move |quarter| quarter.end() <= last)
        .skip_while(move |quarter| quarter.end() < first)
}

/// The last quarter whose report is out on `day`.
pub fn latest_reported(core: &Core, stock: &Stock, day: Day) -> Quarter {
    let quarters = std::iter::successors(Some(Quarter::of(day).previous()), |quarter| Some(quarter.previous()));
    let mut out = quarters.skip_while(|quarter| report_day(core, stock, *quarter) > day);
    out.next().unwrap_or(Quarter::of(day))
}
