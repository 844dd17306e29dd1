//! The simulation: `cargo xtask simulate`.
mod cloud;
mod feed;
mod fleet;
mod functions;
mod lambda;
mod meter;
mod run;
mod time;

pub use self::run::{Load, Outcome, run};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::Prices;
    use crate::template::Template;
    use bematic_local::paths::Workspace;

    #[test]
    fn trial() {
        let template = Template::read(&Workspace::find().unwrap()).unwrap();
        let agents = std::env::var("N").unwrap_or("10".into()).parse().unwrap();
        let rate = std::env::var("M").unwrap_or("1".into()).parse().unwrap();
        let seconds = std::env::var("S").unwrap_or("60".into()).parse().unwrap();
        let load = Load { agents, tasks_per_second: rate, seconds, seed: 1 };
        let outcome = run(&template, &Prices::read().unwrap(), load).unwrap();
        println!("{}", serde_json::to_string_pretty(&outcome).unwrap());
    }
}
