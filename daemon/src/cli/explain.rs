//! `holdfast explain`: which policies would back an object up, by which rule others would not, and what no policy
//! covers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use holdfast_policy::compile::{self, Target};

use super::flags::{Access, ClusterFlags, Output};
use super::policies;
use crate::app;
use crate::cluster::{Cluster, Discovery};
use crate::engine::coverage::volume_data::Surroundings;
use crate::engine::coverage::{self, Choice};
use crate::engine::inventory::{self, Inventory};
use crate::engine::select::{Object, Patterns, Verdict, namespaces_of};

mod file;
mod json;
mod text;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files and directories, and objects as KIND/NAMESPACE/NAME or KIND/NAME; without any object the whole
    /// cluster is looked at. Something that exists in the file system is a path.
    #[arg(required = true, value_name = "PATH|OBJECT")]
    arguments: Vec<String>,
    /// Look at the whole cluster, which is what happens without an object.
    #[arg(long)]
    all: bool,
    /// The objects of the cluster from a file (YAML or JSON, lists too), instead of from a cluster.
    #[arg(long, value_name = "FILE", conflicts_with = "kubeconfig")]
    objects: Option<PathBuf>,
    /// Namespaces that need no backup, by name or glob; may be given more than once.
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    ignore_namespace: Vec<String>,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// An object as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// What there is to say.
enum Answer {
    Objects(Vec<text::Explained>),
    Cluster(coverage::Gaps),
}

/// Exits with 0 when everything asked about is covered, 1 when something is not, 2 when that could not be found out.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let output = args.output;
    match answer(args) {
        Err(error) => Ok(policies::could_not_run(error)),
        Ok((choices, missing, answer)) => {
            let (told, covered) = match &answer {
                Answer::Objects(objects) => {
                    let told = match output {
                        Output::Text => text::objects(&choices, objects),
                        Output::Json | Output::Yaml => output.written(json::objects(&choices, objects)),
                    };
                    (told, objects.iter().all(|object| object.is_covered(&choices)))
                }
                Answer::Cluster(gaps) => {
                    let told = match output {
                        Output::Text => text::cluster(&choices, gaps),
                        Output::Json | Output::Yaml => {
                            output.written(json::cluster(&choices, gaps, &missing))
                        }
                    };
                    (told, gaps.is_covered())
                }
            };
            for missing in &missing {
                eprintln!("warning: not looked at: {missing}");
            }
            policies::print(&told)?;
            if covered { Ok(policies::CLEAN) } else { Ok(ExitCode::from(policies::PROBLEMS)) }
        }
    }
}

fn answer(args: Args) -> anyhow::Result<(Vec<Choice>, Vec<String>, Answer)> {
    let Args { arguments, all, objects: file, ignore_namespace, cluster, output: _ } = args;
    let ClusterFlags { namespace, access } = cluster;
    let (paths, names) = sort(&arguments)?;
    if all && !names.is_empty() {
        bail!("--all looks at the whole cluster: name no object beside it");
    }
    let choices = choices(&paths, namespace)?;
    let Inventory { discovery, objects, missing } = match &file {
        Some(file) => file::read(file)?,
        None => of_cluster(&access)?,
    };
    if names.is_empty() {
        let gaps = coverage::gaps(&choices, &discovery, &objects)?;
        let gaps = gaps.ignoring(&Patterns::new(&ignore_namespace));
        return Ok((choices, missing, Answer::Cluster(gaps)));
    }
    let mut explained = Vec::new();
    let namespaces = namespaces_of(&objects);
    let surroundings = Surroundings::of(&discovery, &objects);
    let places = names.iter().map(|name| name.find(&discovery, &objects)).collect::<Result<Vec<_>, _>>()?;
    let verdicts: Vec<_> = choices
        .iter()
        .map(|choice| choice.verdicts(&discovery, &namespaces, &objects))
        .collect::<Result<_, _>>()?;
    for place in places {
        let verdicts: Vec<Verdict> = verdicts.iter().map(|verdicts| verdicts[place].clone()).collect();
        let included = choices.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_included());
        let made = included.flat_map(|(choice, _)| &choice.makes);
        let data = made.filter_map(|made| {
            Some((made.name.clone(), surroundings.data_of(&objects[place], &made.volumes)?))
        });
        let data = data.collect();
        explained.push(text::Explained { object: objects[place].to_string(), verdicts, data });
    }
    Ok((choices, missing, Answer::Objects(explained)))
}

/// Which arguments are paths, and which objects.
fn sort(arguments: &[String]) -> anyhow::Result<(Vec<PathBuf>, Vec<Name>)> {
    let mut paths = Vec::new();
    let mut names = Vec::new();
    for argument in arguments {
        match Name::parse(argument) {
            Some(name) if !Path::new(argument).exists() => names.push(name),
            Some(_) | None => paths.push(PathBuf::from(argument)),
        }
    }
    if paths.is_empty() {
        bail!("no policies: none of {} exists as a file or directory", arguments.join(", "));
    }
    Ok((paths, names))
}

fn choices(paths: &[PathBuf], namespace: String) -> anyhow::Result<Vec<Choice>> {
    let files = policies::read(paths)?;
    let set = holdfast_policy::load(&files).map_err(|problems| {
        eprint!("{problems}");
        anyhow::anyhow!("the policies have problems")
    })?;
    let target = Target { namespace, source: "policies".to_owned(), cluster_name: None };
    coverage::choices(&compile::compile(&set, &target)).context("reading what the policies compile to")
}

fn of_cluster(access: &Access) -> anyhow::Result<Inventory> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = app::connect(access).await?;
        Ok(inventory::read(&Cluster::new(client)).await?)
    })
}

impl Name {
    /// None for what can't be one.
    fn parse(text: &str) -> Option<Name> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, name] => (kind, None, name),
            [kind, namespace, name] => (kind, Some(namespace), name),
            _ => return None,
        };
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        let is_name = plain(kind) && namespace.is_none_or(plain) && plain(name);
        is_name.then(|| Name {
            kind: kind.into(),
            namespace: namespace.map(str::to_owned),
            name: name.into(),
        })
    }

    /// The object's place among all.
    fn find(&self, discovery: &Discovery, objects: &[Object]) -> anyhow::Result<usize> {
        let Name { kind, namespace, name } = self;
        let Some(resource) = discovery.resolve(kind) else { bail!("there is no kind {kind:?}") };
        match (resource.namespaced, namespace) {
            (true, None) => bail!("{} lives in a namespace: write {kind}/NAMESPACE/{name}", resource.kind),
            (false, Some(_)) => bail!("{} lives outside namespaces: write {kind}/{name}", resource.kind),
            (true, Some(_)) | (false, None) => {}
        }
        let group_resource = resource.group_resource();
        let is_it = |object: &Object| {
            object.item.name == *name
                && object.item.namespace == *namespace
                && object.resource.group_resource() == group_resource
        };
        let place = objects.iter().position(is_it);
        place.with_context(|| match namespace {
            Some(namespace) => format!("there is no {} {namespace}/{name}", resource.kind),
            None => format!("there is no {} {name}", resource.kind),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_two_or_three_parts_and_paths_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let (paths, names) = sort(&[path.clone(), "pod/shop/web".into(), "pv/vol-1".into()]).unwrap();
        assert_eq!(paths, [PathBuf::from(path)]);
        let name = |kind: &str, namespace: Option<&str>, name: &str| Name {
            kind: kind.into(),
            namespace: namespace.map(str::to_owned),
            name: name.into(),
        };
        assert_eq!(names, [name("pod", Some("shop"), "web"), name("pv", None, "vol-1")]);
        for path in ["./a/b", "/a/b", "a", "a/b/c/d", "a//b", "../b"] {
            assert_eq!(Name::parse(path), None, "{path}");
        }
        let error = sort(&["pod/shop/web".into()]).unwrap_err().to_string();
        assert_eq!(error, "no policies: none of pod/shop/web exists as a file or directory");
    }

    #[test]
    fn an_object_that_is_not_there_is_told_as_the_user_would_write_it() {
        let discovery = Discovery::without_a_cluster(&[]);
        let find = |text: &str| Name::parse(text).unwrap().find(&discovery, &[]).unwrap_err().to_string();
        assert_eq!(find("gadget/a"), "there is no kind \"gadget\"");
        assert_eq!(find("po/web"), "Pod lives in a namespace: write po/NAMESPACE/web");
        assert_eq!(find("pv/shop/a"), "PersistentVolume lives outside namespaces: write pv/a");
        assert_eq!(find("deploy/shop/web"), "there is no Deployment shop/web");
    }
}
