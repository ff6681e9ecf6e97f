//! The `glimpse` command: reads arguments, hands over to a command.

fn main() -> std::process::ExitCode {
    glimpse::commands::run()
}
