//! What may be said to the program rather than to the model.

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    /// With its slash.
    pub(super) name: &'static str,
    pub(super) argument: Argument,
    help: &'static str,
}

/// What follows a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    Nothing,
    /// Words, and how the help calls them.
    Words(&'static str),
    /// The name of a file.
    File,
    /// The same, or nothing.
    FileOrNothing,
    /// A setting and its value.
    Setting,
}

const fn command(name: &'static str, argument: Argument, help: &'static str) -> Command {
    Command {
        name,
        argument,
        help,
    }
}

/// All of them, in the order of the help.
pub(super) const COMMANDS: [Command; 22] = [
    command("/help", Argument::Nothing, "show this"),
    command(
        "/clear",
        Argument::Nothing,
        "forget what was said, but not the instructions",
    ),
    command(
        "/system",
        Argument::Words("[TEXT]"),
        "show the instructions, or replace them",
    ),
    command(
        "/thinking",
        Argument::Words("on|off"),
        "reason before answering, or answer at once",
    ),
    command(
        "/effort",
        Argument::Words("EFFORT"),
        "think this hard: low, high, max; V4.1 counts from 1 to 100, too",
    ),
    command(
        "/set",
        Argument::Setting,
        "set how answers are made: /set temperature 0.6",
    ),
    command(
        "/show",
        Argument::Nothing,
        "show the model and how answers are made",
    ),
    command("/read", Argument::File, "say what a file says"),
    command(
        "/image",
        Argument::File,
        "show an image with what is said next (V4.1)",
    ),
    command("/audio", Argument::File, "play audio with it"),
    command("/video", Argument::File, "show a video with it"),
    command(
        "/tools",
        Argument::FileOrNothing,
        "offer the tools of a JSON file; /tools off takes them back",
    ),
    command("/list", Argument::Nothing, "list what was said"),
    command(
        "/retry",
        Argument::Nothing,
        "have the last answer given anew, by another seed",
    ),
    command(
        "/undo",
        Argument::Nothing,
        "take back the last question and its answer",
    ),
    command(
        "/stats",
        Argument::Nothing,
        "show the figures of the last answer",
    ),
    command(
        "/save",
        Argument::File,
        "write the conversation as JSON to a new file; /save! replaces one",
    ),
    command("/save!", Argument::File, ""),
    command(
        "/load",
        Argument::File,
        "go on with a conversation that was saved",
    ),
    command(
        "/quit",
        Argument::Nothing,
        "leave; so does Ctrl-D, and Ctrl-C twice",
    ),
    command("/exit", Argument::Nothing, ""),
    command("/bye", Argument::Nothing, ""),
];

const AFTER: &str = "\
A line that ends in a backslash goes on in the next. One that begins with two slashes is said with one of
them, and one that begins with a space as it is: neither is a command. Tab completes commands and files.
Ctrl-C stops an answer.";

/// What `/help` shows.
pub(super) fn help() -> String {
    let lines = COMMANDS.iter().filter(|command| !command.help.is_empty());
    let lines = lines.map(|command| {
        let argument = match command.argument {
            Argument::Nothing => "",
            Argument::Words(name) => name,
            Argument::File => "FILE",
            Argument::FileOrNothing => "[FILE]",
            Argument::Setting => "[NAME VALUE]",
        };
        let typed = format!("{} {argument}", command.name);
        format!("{typed:<20}{}\n", command.help)
    });
    lines.collect::<String>() + AFTER
}
