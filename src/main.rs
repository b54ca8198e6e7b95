//! The thin binary around the library.

fn main() -> std::process::ExitCode {
    tidegate::app::main()
}
