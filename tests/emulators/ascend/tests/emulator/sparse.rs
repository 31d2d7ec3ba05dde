//! Attention over pages: what it computes, and that its metadata are of the same parameters.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use backend_ascend_sys::types::aclTensor;

use crate::operands::{BF16, F32, I32, Operand, operate};
use crate::session::Session;

const QUERIES: &CStr = c"TND";
const KEYS: &CStr = c"PA_BBND";
/// Rows in a page, chosen rows of a query, and compressed rows that there are.
const PAGE: usize = 16;
const CHOSEN: usize = 512;
const ROWS: usize = 3;

/// One request: two queries of one head and two channels at the end of 20 positions, the third of which only show what they may.
struct Case {
    session: Session,
    starts: Operand,
    own: Operand,
    counts: Operand,
    residuals: Operand,
    metadata: Operand,
}

/// What may differ between the two halves.
#[derive(Clone, Copy)]
struct Told {
    ratio: i64,
    has_rows: bool,
    has_residual: bool,
}

const WINDOW: Told = Told {
    ratio: 0,
    has_rows: false,
    has_residual: false,
};
const ROWS_OF_FOUR: Told = Told {
    ratio: 4,
    has_rows: true,
    has_residual: true,
};

fn raw(given: bool, one: &Operand) -> *const aclTensor {
    if given { one.tensor } else { null() }
}

impl Case {
    fn new() -> Self {
        let session = Session::lazy();
        let list = |numbers: &[f64]| session.tensor(I32, &[numbers.len() as i64], numbers);
        Self {
            starts: list(&[0.0, 2.0]),
            own: list(&[20.0]),
            counts: list(&[ROWS as f64]),
            residuals: list(&[3.0]),
            metadata: session.empty(I32, &[1024]),
            session,
        }
    }

    fn prepare(&self, told: Told) -> i32 {
        let Told {
            ratio, has_rows, ..
        } = told;
        operate!(
            self.session,
            SparseFlashMlaMetadata(
                self.starts.tensor,
                null(),
                null(),
                null(),
                self.own.tensor,
                raw(has_rows, &self.counts),
                raw(told.has_residual, &self.residuals),
                null(),
                null(),
                1,
                1,
                2,
                1,
                2,
                20,
                ROWS as i64,
                0,
                if has_rows { CHOSEN as i64 } else { 0 },
                ratio,
                4,
                if has_rows { 3 } else { 0 },
                3,
                0,
                QUERIES.as_ptr(),
                KEYS.as_ptr(),
                true,
                has_rows,
                self.metadata.tensor,
            )
        )
    }

    fn attend(&self, told: Told, pages: [f64; 2]) -> (i32, Operand) {
        let session = &self.session;
        let Told {
            ratio, has_rows, ..
        } = told;
        // Keys that are also values: the position, and one.
        let keys = (0..2 * PAGE).flat_map(|at| [at as f64, 1.0]);
        let keys: Vec<f64> = keys.collect();
        let pool = session.tensor(BF16, &[2, PAGE as i64, 1, 2], &keys);
        let table = session.tensor(I32, &[1, 2], &pages);
        let rows: Vec<f64> = (0..PAGE)
            .flat_map(|at| [100.0 * (at + 1) as f64, 1.0])
            .collect();
        let rows = session.tensor(BF16, &[1, PAGE as i64, 1, 2], &rows);
        let rows_table = session.tensor(I32, &[1, 1], &[0.0]);
        let mut chosen = vec![-1.0; 2 * CHOSEN];
        (chosen[0], chosen[1], chosen[CHOSEN], chosen[CHOSEN + 1]) = (0.0, 2.0, 1.0, 2.0);
        let chosen = session.tensor(I32, &[2, 1, CHOSEN as i64], &chosen);
        // Queries of zeros: each row that is seen weighs the same, the sink as much as one.
        let q = session.tensor(BF16, &[2, 1, 2], &[0.0; 4]);
        let sinks = session.tensor(F32, &[1], &[0.0]);
        let out = session.empty(BF16, &[2, 1, 2]);
        let code = operate!(
            session,
            SparseFlashMla(
                q.tensor,
                pool.tensor,
                raw(has_rows, &rows),
                null(),
                raw(has_rows, &chosen),
                table.tensor,
                raw(has_rows, &rows_table),
                self.starts.tensor,
                null(),
                null(),
                null(),
                self.own.tensor,
                raw(has_rows, &self.counts),
                raw(told.has_residual, &self.residuals),
                null(),
                null(),
                sinks.tensor,
                self.metadata.tensor,
                1.0,
                ratio,
                4,
                if has_rows { 3 } else { 0 },
                3,
                0,
                QUERIES.as_ptr().cast_mut(),
                KEYS.as_ptr().cast_mut(),
                1,
                false,
                out.tensor,
                null_mut(),
            )
        );
        (code, out)
    }
}

#[test]
fn a_query_sees_the_window_behind_it_and_the_rows_that_are_whole() {
    let case = Case::new();
    assert_eq!(case.prepare(WINDOW), 0, "{}", case.session.text());
    let (code, out) = case.attend(WINDOW, [0.0, 1.0]);
    assert_eq!(code, 0, "{}", case.session.text());
    // Four positions each, and the sink: 15 to 18, and 16 to 19.
    let got = case.session.numbers(&out);
    let want = [66.0 / 5.0, 0.8, 70.0 / 5.0, 0.8];
    let near = got
        .iter()
        .zip(want)
        .all(|(got, want)| (got - want).abs() < want / 128.0);
    assert!(near, "{got:?}");
    drop(case);
    // Of three rows of four positions and three positions behind them the last query has passed 15.
    let case = Case::new();
    assert_eq!(case.prepare(ROWS_OF_FOUR), 0, "{}", case.session.text());
    let (code, out) = case.attend(ROWS_OF_FOUR, [0.0, 1.0]);
    assert_eq!(code, 0, "{}", case.session.text());
    let got = case.session.numbers(&out);
    // Rows 0 and 2, then 1 and 2, beside the window and the sink.
    let want = [466.0 / 7.0, 6.0 / 7.0, 570.0 / 7.0, 6.0 / 7.0];
    let near = got
        .iter()
        .zip(want)
        .all(|(got, want)| (got - want).abs() < want / 128.0);
    assert!(near, "{got:?}");
    assert_eq!(case.session.violations(), Vec::<String>::new());
}

#[test]
fn metadata_of_other_parameters_or_lengths_are_found() {
    let case = Case::new();
    let other = Told {
        ratio: 2,
        ..ROWS_OF_FOUR
    };
    assert_eq!(case.prepare(other), 0, "{}", case.session.text());
    assert_ne!(case.attend(ROWS_OF_FOUR, [0.0, 1.0]).0, 0);
    assert_eq!(case.session.violations(), ["metadata"]);
    let report = case.session.report().to_string();
    assert!(report.contains("another cmpRatio: 2, here 4"), "{report}");
    drop(case);
    // The same parameters before the sequence has grown.
    let mut case = Case::new();
    assert_eq!(case.prepare(WINDOW), 0);
    case.own = case.session.tensor(I32, &[1], &[21.0]);
    assert_ne!(case.attend(WINDOW, [0.0, 1.0]).0, 0);
    let report = case.session.report().to_string();
    assert!(report.contains("another sequsedOriKv"), "{report}");
}

#[test]
fn a_ratio_without_residuals_is_refused_by_both_halves() {
    let case = Case::new();
    let without = Told {
        has_residual: false,
        ..ROWS_OF_FOUR
    };
    assert_eq!(case.prepare(without), 161_002);
    assert!(
        case.session.text().contains("cmpResidualKv"),
        "{}",
        case.session.text()
    );
    assert_eq!(case.prepare(ROWS_OF_FOUR), 0);
    assert_eq!(case.attend(without, [0.0, 1.0]).0, 161_002);
    // A row for each position has nothing that is left over.
    let each = Told {
        ratio: 1,
        ..without
    };
    assert_eq!(case.prepare(each), 0, "{}", case.session.text());
}

#[test]
fn a_page_that_is_not_there_is_found() {
    let case = Case::new();
    assert_eq!(case.prepare(WINDOW), 0);
    assert_ne!(case.attend(WINDOW, [0.0, 2.0]).0, 0);
    assert_eq!(case.session.violations(), ["block_table"]);
}
