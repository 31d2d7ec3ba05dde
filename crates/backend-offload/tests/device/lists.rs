//! Lists of rows: what counts from one, what from zero, and what names no row.

use std::sync::Arc;

use backend_offload::host::HostDriver;
use backend_offload::{Ids, Offload, Tensor};
use deepseek_core::{Backend, HostTensor, NO_ROW, Result, RowFormat};

use crate::device;

type Device = Offload<HostDriver>;

fn table(be: &Device) -> Result<Tensor> {
    be.upload(&HostTensor::new(
        &[3, 2],
        vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    ))
}

/// What a list made on the device holds: the best of rows with these numbers.
fn made(be: &Device, numbers: &[f32], k: usize) -> Result<Ids> {
    be.top_k(
        &be.upload(&HostTensor::new(&[1, numbers.len()], numbers.to_vec()))?,
        k,
    )
}

#[test]
fn lists_come_back_as_they_went() -> Result<()> {
    let be = device()?;
    for list in [&[][..], &[0], &[NO_ROW], &[7, NO_ROW, 0, 1 << 30]] {
        assert_eq!(*be.ids_on_host(&be.ids(list)?)?, *list);
    }
    assert_eq!(
        *be.ids_on_host(&made(&be, &[3.0, 1.0, 3.0, 2.0], 3)?)?,
        [0, 2, 3]
    );
    Ok(())
}

#[test]
fn both_kinds_of_lists_read_and_write_the_same_rows() -> Result<()> {
    let be = device()?;
    let x = table(&be)?;
    let lists = [made(&be, &[2.0, 0.0, 1.0], 2)?, be.ids(&[0, 2])?];
    for at in lists {
        assert_eq!(
            be.download(&be.gather(&x, &at)?)?.data(),
            [1.0, 2.0, 5.0, 6.0]
        );
        let mut rows = be.rows(RowFormat::Bf16, 2, 4)?;
        be.write_rows(&mut rows, &at, &be.narrow(&x, 0, 1, 2)?)?;
        let all = be.read_rows(&rows, &be.ids(&[0, 1, 2, NO_ROW])?)?;
        assert_eq!(
            be.download(&all)?.data(),
            [3.0, 4.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0]
        );
        assert_eq!(
            be.download(&be.read_rows(&rows, &at)?)?.data(),
            [3.0, 4.0, 5.0, 6.0]
        );
        assert_eq!(be.download(&be.mask(&at, &[2])?)?.data(), [0.0, 0.0]);
    }
    Ok(())
}

#[test]
fn no_row_stays_zeros_however_often_it_is_written() -> Result<()> {
    let be = device()?;
    let mut rows = be.rows(RowFormat::F32, 2, 2)?;
    let bad = be.upload(&HostTensor::new(&[3, 2], vec![f32::NAN; 6]))?;
    be.write_rows(&mut rows, &be.ids(&[NO_ROW, 1, NO_ROW])?, &bad)?;
    let got = be.download(&be.read_rows(&rows, &be.ids(&[NO_ROW, 0])?)?)?;
    assert_eq!(got.data(), [0.0; 4]);
    Ok(())
}

#[test]
fn what_lies_behind_the_end_of_a_list_is_no_row() -> Result<()> {
    let be = device()?;
    let ids = be.ids(&[10, 11, 12, 20, NO_ROW, 22])?;
    let taken = |at: &Ids, k, block| -> Result<Arc<[u32]>> {
        be.ids_on_host(&be.take_ids(&ids, 3, at, k, block)?)
    };
    assert_eq!(
        *taken(&be.ids(&[2, 9, NO_ROW, 1])?, 2, 1)?,
        [12, NO_ROW, NO_ROW, NO_ROW]
    );
    assert_eq!(*taken(&be.ids(&[1, 0])?, 1, 2)?, [12, NO_ROW, 20, NO_ROW]);
    assert_eq!(*taken(&be.ids(&[0, 7])?, 1, 2)?, [10, 11, NO_ROW, NO_ROW]);
    // Chosen on the device, of lists that were, too.
    let two = be.upload(&HostTensor::new(
        &[2, 3],
        vec![1.0, 0.0, 2.0, 5.0, 6.0, 4.0],
    ))?;
    let best = be.top_k(&two, 2)?;
    assert_eq!(*taken(&best, 2, 1)?, [10, 12, 20, NO_ROW]);
    let again = be.take_ids(&best, 2, &be.ids(&[1, NO_ROW, 0, 5])?, 2, 1)?;
    assert_eq!(*be.ids_on_host(&again)?, [2, NO_ROW, 0, NO_ROW]);
    let cut = be.cut_ids(&best, 2, 1..2, 4)?;
    assert_eq!(*be.ids_on_host(&cut)?, [0, 1, NO_ROW, NO_ROW]);
    Ok(())
}

#[test]
fn a_list_that_names_a_row_that_is_not_there_is_a_bug_of_the_caller() -> Result<()> {
    let be = Arc::new(device()?);
    let asked = Arc::clone(&be);
    let bug = std::thread::spawn(move || {
        let x = table(&asked)?;
        asked.gather(&x, &asked.ids(&[0, 3])?)
    });
    let said = bug.join().expect_err("a panic");
    let said = said.downcast_ref::<String>().expect("a message");
    assert_eq!(said, "row 3 of 3");
    // The device is none the worse for it.
    be.synchronize()
}
