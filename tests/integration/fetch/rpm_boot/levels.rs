//! What is believed without a signature, and that nothing slips from one level to the other.

use super::*;

impl TreeWorld {
    fn without_list(mut self) -> Self {
        self.release.checksum = None;
        self
    }
}

#[tokio::test]
async fn without_a_list_the_distributors_treeinfo_vouches_and_it_is_said() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()?.map(TreeWorld::without_list) else { return Ok(()) };
    let set = world.obtain().await?;
    is_complete(&set)?;
    // The test's server is no https server, and that is said too.
    assert_eq!((set.provenance(), set.level()), ("Fedora 44, http: not verified (127.0.0.1)", Level::Http));
    let mut asked = world.own().paths();
    asked.sort();
    // What is not listed comes from the one server that is believed; the bytes of the rest from the mirror.
    assert_eq!(asked, [in_tree(".treeinfo"), in_tree("EFI/BOOT/BOOTX64.EFI"), in_tree("EFI/BOOT/grubx64.efi")]);
    let mirrored = world.mirror().paths();
    assert_eq!(mirrored.len(), 3, "{mirrored:?}");

    is_complete(&world.obtain().await?)?;
    assert_eq!(world.own().paths(), [in_tree(".treeinfo")]);
    assert_eq!(world.mirror().paths(), [""; 0]);
    let offline = world.ask(true).await?;
    assert_eq!(offline.provenance(), "cached, verified on 2026-11-20 (http: not verified): --offline");
    Ok(())
}

#[tokio::test]
async fn signed_is_not_to_be_had_without_a_list() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()?.map(TreeWorld::without_list) else { return Ok(()) };
    world.obtain().await?;
    world.trust = Some(Trust::Signed);
    let error = world.obtain().await.expect_err("nothing signed");
    assert_eq!(format!("{error:#}"), "nothing that is signed is known of the boot files of Fedora 44");
    assert!(error.downcast_ref::<Hinted>().is_some_and(|hinted| hinted.hint.contains("--trust https")));
    // The cache was filled at the lower level, and is not believed at the higher one.
    let error = world.ask(true).await.expect_err("nothing signed");
    assert!(format!("{error:#}").contains("lacks vmlinuz, initrd.img, install.img"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn a_cache_is_filled_anew_when_more_is_demanded_of_it() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    world.trust = Some(Trust::Https);
    assert_eq!(world.obtain().await?.level(), Level::Http);
    drop((world.own().paths(), world.mirror().paths()));
    for trust in [None, Some(Trust::Signed)] {
        world.trust = trust;
        assert_eq!(world.obtain().await?.level(), Level::Signed);
    }
    let images = world.mirror().paths().into_iter().filter(|path| path.ends_with("boot.iso")).count();
    assert_eq!(images, 1, "once was enough");
    Ok(())
}

#[tokio::test]
async fn a_list_that_is_not_there_is_no_reason_to_believe_less() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let list = format!("/{LIST}");
    for (own, mirror) in [(Fault::Status(404), Fault::Status(404)), (Fault::Status(403), Fault::Status(404))] {
        world.own().always(&list, own);
        world.mirror().always(&list, mirror);
        // Not TLS, so that the word of this server is anybody's word.
        assert!(world.failure().await.contains("reading the signed list of the images: "));
    }
    Ok(())
}

#[tokio::test]
async fn the_distributors_word_over_tls_that_there_is_no_list_is_taken() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    let Some(tls) = tls::Front::start(world.own().address())? else { return Ok(()) };
    world.client = tls.client()?;
    world.release.public_mirrors = vec![Mirror::new("fedora", &tls.url().parse()?)];
    world.own().always(&format!("/{LIST}"), Fault::Status(404));
    let set = world.obtain().await?;
    is_complete(&set)?;
    assert_eq!((set.provenance(), set.level()), ("Fedora 44, https only: not signed (localhost)", Level::Https));
    let said = world.said();
    let line = format!("{}/ has no signed list of the images of Fedora 44: https only: not signed", tls.url());
    assert!(said.contains(&line), "{said:?}");

    world.trust = Some(Trust::Signed);
    std::fs::remove_file(world.file("mirror", LIST))?;
    let error = world.obtain().await.expect_err("signed was demanded");
    assert!(error.downcast_ref::<Hinted>().is_some(), "{error:#}");

    // Once the list is there again, it is what counts.
    world.trust = None;
    world.own().heal();
    assert_eq!(world.obtain().await?.provenance(), world.signed_by());
    Ok(())
}

#[tokio::test]
async fn an_altered_file_or_list_of_the_lower_level_is_refused() -> anyhow::Result<()> {
    let vmlinuz = "images/pxeboot/vmlinuz";
    let kernel = sha256(&content(vmlinuz));
    let other = format!("{}{}", if kernel.starts_with('0') { "1" } else { "0" }, &kernel[1..]);
    for altered in [vmlinuz, ".treeinfo"] {
        let Some(world) = TreeWorld::new()?.map(TreeWorld::without_list) else { return Ok(()) };
        for server in ["mirror", "own"] {
            let path = world.file(server, &format!("{TREE}/{altered}"));
            let mut bytes = std::fs::read(&path)?;
            match String::from_utf8(bytes.clone()) {
                Ok(treeinfo) if altered == ".treeinfo" => bytes = treeinfo.replace(&kernel, &other).into_bytes(),
                _ => bytes[1000] ^= 1,
            }
            std::fs::write(&path, &bytes)?;
        }
        let error = world.failure().await;
        for server in [world.mirror(), world.own()] {
            let wrong = format!("{}/{TREE}/{vmlinuz} is not the file that is listed: its SHA-256 is ", server.url());
            assert!(error.contains(&wrong), "{error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_came_over_tls_came_over_tls_to_the_end() -> anyhow::Result<()> {
    use std::io::{Read, Write};
    let Some(mut world) = TreeWorld::new()?.map(TreeWorld::without_list) else { return Ok(()) };
    let elsewhere = format!("{}{}", world.own().url(), in_tree(".treeinfo"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let Some(tls) = tls::Front::start(listener.local_addr()?)? else { return Ok(()) };
    let location = elsewhere.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    world.client = tls.client()?;
    world.release.public_mirrors = vec![Mirror::new("fedora", &tls.url().parse()?)];
    let error = world.failure().await;
    assert!(error.ends_with(&format!("it sends us on to {elsewhere}, which is not https")), "{error}");
    Ok(())
}

/// TLS before a server that has none.
pub mod tls {
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpListener, TcpStream},
        process::Command,
        sync::Arc,
    };

    use rustls::{
        ServerConfig, ServerConnection, StreamOwned,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };

    pub struct Front {
        address: SocketAddr,
        certificate: Vec<u8>,
    }

    impl Front {
        /// `None` where there is no openssl to make a certificate.
        pub fn start(behind: SocketAddr) -> anyhow::Result<Option<Self>> {
            let folder = tempfile::tempdir()?;
            let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
            let mut openssl = Command::new("openssl");
            openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
            openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]);
            // Not an authority: a certificate that is its own root is refused as a server's.
            openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
            let output = match openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output() {
                Ok(output) => output,
                Err(error) => {
                    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "openssl is missing: {error}");
                    eprintln!("skipped: there is no openssl here ({error})");
                    return Ok(None);
                }
            };
            assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
            let _ = rustls::crypto::ring::default_provider().install_default();
            let chain = vec![CertificateDer::from_pem_file(&certificate)?];
            let config = ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key)?)?;
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let config = Arc::new(config);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let config = Arc::clone(&config);
                    std::thread::spawn(move || drop(forward(stream, config, behind)));
                }
            });
            Ok(Some(Self { address, certificate: std::fs::read(certificate)? }))
        }

        pub fn url(&self) -> String {
            format!("https://localhost:{}", self.address.port())
        }

        /// The certificate, as it is written in PEM.
        pub fn certificate(&self) -> &[u8] {
            &self.certificate
        }

        pub fn client(&self) -> anyhow::Result<provisioner::fetch::Client> {
            let root = reqwest::Certificate::from_pem(&self.certificate)?;
            Ok(reqwest::Client::builder().tls_certs_only([root]).resolve("localhost", self.address).build()?.into())
        }
    }

    /// One request: its head is forwarded, then the whole answer.
    fn forward(stream: TcpStream, config: Arc<ServerConfig>, behind: SocketAddr) -> anyhow::Result<()> {
        let mut tls = StreamOwned::new(ServerConnection::new(config)?, stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let mut plain = TcpStream::connect(behind)?;
        plain.write_all(&head)?;
        std::io::copy(&mut plain, &mut tls)?;
        tls.conn.send_close_notify();
        tls.flush()?;
        Ok(())
    }
}
