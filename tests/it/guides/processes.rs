//! Process groups.

use super::{serves, site};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        two_virtual_hosts_with_a_user_each,
        process_groups_from_a_map,
        sockets_below_the_server_root,
        several_applications_in_one_process_group,
        a_configuration_of_mod_wsgi_express
    ]);
}

fn two_virtual_hosts_with_a_user_each(case: &Case) {
    case.needs_root();
    let host = |name: &str, user: &str| {
        format!(
            "<VirtualHost *:@PORT@>\n    ServerName {name}\n    CustomLog logs/{name}-access_log common\n    \
             ErrorLog logs/{name}-error_log\n\n    WSGIDaemonProcess {name} user={user} group={user} \\\n        \
             processes=2 threads=25\n    WSGIProcessGroup {name}\n\n    WSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi\n</VirtualHost>\n"
        )
    };
    let text = host("www.site1.com", "games") + &host("www.site2.com", "daemon");
    let httpd = site(case)
        .bare()
        .file("logs/readme", "")
        .conf(&format!("LogFormat \"%h\" common\n{text}"))
        .start();
    let user = |host: &str| {
        let environ = httpd.request("GET", "/").header("Host", host).send().json();
        assert_eq!(environ["mod_wsgi.process_group"], host);
        environ["_"]["uid"][0].as_u64()
    };
    assert_ne!(user("www.site1.com"), user("www.site2.com"));
}

fn process_groups_from_a_map(case: &Case) {
    let httpd = site(case)
        .bare()
        .file("groups.txt", "/one first\n/two second\n")
        .conf(
            "WSGIDaemonProcess first\nWSGIDaemonProcess second\nRewriteEngine On\nRewriteMap wsgiprocmap txt:@ROOT@/groups.txt\n\
             RewriteRule . - [E=PROCESS_GROUP:${wsgiprocmap:%{REQUEST_URI}}]\n\nWSGIProcessGroup %{ENV:PROCESS_GROUP}\n\
             WSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi",
        )
        .start();
    for (path, group) in [("/one", "first"), ("/two", "second"), ("/three", "")] {
        assert_eq!(httpd.get(path).json()["mod_wsgi.process_group"], group, "{path}");
    }
}

fn sockets_below_the_server_root(case: &Case) {
    let httpd = site(case)
        .conf("WSGISocketPrefix run/wsgi\nWSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi")
        .start();
    serves(&httpd, &[("/", "myapp.wsgi", "", "/")]);
    let below = httpd.root().join("run");
    assert!(httpd.socket_files().iter().all(|file| file.starts_with(&below)));
}

fn several_applications_in_one_process_group(case: &Case) {
    let httpd = site(case)
        .bare()
        .conf(
            "WSGIDaemonProcess myapps\n\nWSGIProcessGroup myapps\n\nWSGIScriptAlias /myapp3 @ROOT@/wsgi/scripts/mywiki.wsgi\n\
             WSGIScriptAlias /myapp2 @ROOT@/wsgi/scripts/myblog.wsgi\n\nWSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi",
        )
        .start();
    let mut groups = Vec::new();
    for path in ["/", "/myapp2", "/myapp3"] {
        let environ = httpd.get(path).json();
        assert_eq!(environ["mod_wsgi.process_group"], "myapps");
        groups.push(environ["mod_wsgi.application_group"].clone());
    }
    groups.dedup();
    assert_eq!(groups.len(), 3, "each has its own interpreter");
}

/// What `mod_wsgi-express setup-server` writes, empty values and all.
fn a_configuration_of_mod_wsgi_express(case: &Case) {
    let httpd = site(case)
        .bare()
        .conf(
            "WSGIPythonHome '@VENV@'\nWSGIVerboseDebugging 'Off'\nWSGISocketPrefix @ROOT@/run/wsgi\nWSGISocketRotation Off\n\
             WSGIDestroyInterpreter On\nWSGIRestrictEmbedded On\n\
             WSGIDaemonProcess 'localhost:8000' \\\n   display-name='(wsgi:localhost:8000:0)' \\\n   home='@ROOT@' \\\n   \
             processes=2 \\\n   threads=5 \\\n   maximum-requests=0 \\\n   python-path='' \\\n   python-eggs='@DATA@' \\\n   \
             lang='C.UTF-8' \\\n   locale='C.UTF-8' \\\n   listen-backlog=100 \\\n   queue-timeout=45 \\\n   socket-timeout=60 \\\n   \
             connect-timeout=15 \\\n   request-timeout=60 \\\n   interrupt-timeout=0 \\\n   inactivity-timeout=0 \\\n   \
             startup-timeout=15 \\\n   deadlock-timeout=60 \\\n   graceful-timeout=15 \\\n   eviction-timeout=0 \\\n   \
             restart-interval=0 \\\n   cpu-time-limit=0 \\\n   shutdown-timeout=5 \\\n   send-buffer-size=0 \\\n   \
             receive-buffer-size=0 \\\n   header-buffer-size=0 \\\n   response-buffer-size=0 \\\n   response-socket-timeout=0 \\\n   \
             response-flush-delay=5 \\\n   server-metrics=Off\n\
             WSGICallableObject 'application'\nWSGIPassAuthorization On\nWSGIMapHEADToGET Auto\nWSGIServerMetrics Off\n\
             WSGIHandlerScript wsgi-handler '@ROOT@/wsgi/scripts/myapp.wsgi' \\\n    \
             process-group='localhost:8000' application-group=%{GLOBAL}\n\
             WSGIImportScript '@ROOT@/wsgi/scripts/myapp.wsgi' \\\n    \
             process-group='localhost:8000' application-group=%{GLOBAL}\n\
             WSGIScriptAlias / '@ROOT@/wsgi/scripts/myapp.wsgi' process-group='localhost:8000' application-group=%{GLOBAL}",
        )
        .start();
    let environ = httpd.get("/a?x=1").json();
    assert_eq!(environ["mod_wsgi.process_group"], "localhost:8000");
    assert_eq!(environ["_"]["cwd"], httpd.root().display().to_string().as_str());
}
