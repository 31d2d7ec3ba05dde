//! Lists what a checkpoint holds: tensors and bytes of each type. Reads headers alone.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use deepseek_core::weights::Checkpoint;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .ok_or("usage: inspect_checkpoint DIR")?;
    let checkpoint = Checkpoint::open(Path::new(&dir))?;
    let mut types = BTreeMap::new();
    for tensor in checkpoint.tensors() {
        let (tensors, bytes) = types.entry(tensor.dtype()).or_insert((0_usize, 0_u64));
        *tensors += 1;
        *bytes += tensor.bytes().len() as u64;
    }
    println!("{:8} {:>9} {:>18}", "type", "tensors", "bytes");
    for (dtype, (tensors, bytes)) in types {
        println!("{dtype:8} {tensors:9} {bytes:18}");
    }
    println!(
        "{:8} {:9} {:18}",
        "all",
        checkpoint.len(),
        checkpoint.bytes()
    );
    println!("{} files", checkpoint.shards().len());
    Ok(())
}
