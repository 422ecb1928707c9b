//! The `postern` binary: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    postern::commands::main()
}
