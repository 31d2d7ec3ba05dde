//! What the program writes about itself for shells and for `man`.

use std::io::Write;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Completions, Line, Man};
use crate::fault::{Fault, Result};
use crate::interrupt::{Interrupt, Second};
use crate::output::Place;
use crate::screen;

/// `deepseek completions`: a script for a shell.
pub(crate) fn completions(args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    let mut line = Line::command();
    clap_complete::generate(args.shell, &mut line, "deepseek", &mut script);
    let mut out = screen::stdout();
    out.write_all(&script)?;
    Ok(out.flush()?)
}

/// `deepseek man`: a page for the program and one for each command.
pub(crate) fn man(args: &Man) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .with_context(|| folder.display().to_string())
        .map_err(Fault::machine)?;
    let mut line = Line::command().disable_help_subcommand(true);
    line.build();
    let commands = line
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    for command in std::iter::once(&line).chain(commands) {
        let page = clap_mangen::Man::new(command.clone());
        let mut text = Vec::new();
        page.render(&mut text)?;
        let place = Place::find(&folder.join(page.get_filename()))?;
        interrupt.write(place, &text)?;
    }
    Ok(())
}
