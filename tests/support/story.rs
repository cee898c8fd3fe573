//! A story: a directory with `input.yaml` and perhaps a `config.yaml`, compiled for the node `node-a`.

use std::path::{Path, PathBuf};

use ferroproxy::agent::{plan, plan_iptables};
use ferroproxy::cli::args::{Cli, Command, ConfigArgs};
use ferroproxy::cli::resolve::{Environment, resolve_as};
use ferroproxy::compile::Compiler;
use ferroproxy::model::{Config, Event, Family, ProxyMode, Rejection};
use ferroproxy::source::manifests;
use ferroproxy::state::State;

/// The own node of every story.
pub(crate) const NODE: &str = "node-a";

/// A story with everything it says taken in.
pub(crate) struct Story {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) rejections: Vec<Rejection>,
}

struct NoEnvironment;

impl Environment for NoEnvironment {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn host_name(&self) -> std::io::Result<String> {
        Ok(NODE.to_owned())
    }
}

impl Story {
    /// Reads a story.
    #[allow(dead_code)]
    pub(crate) fn read(dir: &Path) -> Story {
        Story::read_as(dir, None)
    }

    /// Reads a story, in this mode whatever it says.
    pub(crate) fn read_as(dir: &Path, mode: Option<ProxyMode>) -> Story {
        let config = config(dir, mode);
        let mut story = Story { config, state: State::new(), rejections: Vec::new() };
        for event in manifests::load(&dir.join("input"), NODE).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            match event {
                Event::Rejected(rejection) => story.rejections.push(rejection),
                event => story.state.apply(event),
            }
        }
        story
    }

    /// The compiler after the story.
    #[allow(dead_code)]
    pub(crate) fn compile(&self) -> Compiler {
        plan(&self.config, self.state.snapshot(), &Family::ALL, Default::default()).0
    }

    /// The text for `iptables-restore` after the story.
    #[allow(dead_code)]
    pub(crate) fn render_iptables(&self) -> String {
        plan_iptables(&self.config, self.state.snapshot(), &Family::ALL).0.render().to_string()
    }
}

fn config(dir: &Path, mode: Option<ProxyMode>) -> Config {
    let mut argv =
        vec!["ferroproxy".into(), "render".into(), "--manifests".into(), PathBuf::from(dir).into_os_string()];
    let file = dir.join("config.yaml");
    if file.exists() {
        argv.extend(["--config".into(), file.into_os_string()]);
    }
    let args: ConfigArgs = match Cli::parse_line(argv).unwrap().command {
        Command::Render(args) => args.config,
        other => panic!("{other:?}"),
    };
    resolve_as(&args, &NoEnvironment, mode).unwrap_or_else(|e| panic!("{}: {e}", dir.display())).0
}
