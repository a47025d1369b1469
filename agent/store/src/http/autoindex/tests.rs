use proptest::prelude::*;

use super::*;

#[test]
fn pages_of_real_servers() {
    // Shortened from what each generates.
    let nginx = "<html>\r\n<head><title>Index of /d/</title></head>\r\n<body>\r\n<h1>Index of /d/</h1><hr><pre><a href=\"../\">../</a>\r\n\
        <a href=\"sub/\">sub/</a>      12-Jan-2024 10:00       -\r\n<a href=\"a%20b%26c\">a b&amp;c</a>   12-Jan-2024 10:00   3\r\n</pre>";
    assert_eq!(hrefs(nginx), ["../", "sub/", "a%20b%26c"]);
    let apache = "<tr><th valign=\"top\"><img src=\"/icons/blank.gif\" alt=\"[ICO]\"></th><th><a href=\"?C=N;O=D\">Name</a></th>\
        <td><a href=\"/\">Parent Directory</a></td></tr><td><a href=\"x&amp;y.txt\">x&amp;y.txt</a></td>";
    assert_eq!(hrefs(apache), ["?C=N;O=D", "/", "x&y.txt"]);
    let python =
        "<!DOCTYPE HTML>\n<ul>\n<li><a href=\"it%27s%20%2B%25.txt\">it's +%.txt</a></li>\n<li><a href=\"d/\">d/</a></li>\n</ul>";
    assert_eq!(hrefs(python), ["it%27s%20%2B%25.txt", "d/"]);
    let rclone = "<tr class=\"file\">\n<td></td><td>\n<a href=\"./a%3Fb\"><svg></svg><span class=\"name\">a?b</span></a>\n</td>";
    assert_eq!(hrefs(rclone), ["./a%3Fb"]);
}

#[test]
fn odd_html() {
    for (page, want) in [
        ("<A\n class=x HREF = 'q \"uo'>t</A>", vec!["q \"uo"]),
        ("<a href=bare>t</a><a href=bare2/>", vec!["bare", "bare2/"]),
        ("<a name=x>t</a>", vec![]),
        ("<abbr href=x><area href=y><link href=z>", vec![]),
        ("<!-- <a href=hidden> --><a href=seen>", vec!["seen"]),
        ("<a href=\"&#x41;&#66;&lt;&nope;&amp;amp;&\">", vec!["AB<&nope;&amp;&"]),
        ("<a href=1 href=2>", vec!["1"]),
        ("<a data-href=1>", vec![]),
        ("<a title='<a href=inner>' href=outer>", vec!["outer"]),
        ("<a href=\"unclosed", vec!["unclosed"]),
        ("<a href=", vec![""]),
        ("<a =x href=y>", vec!["y"]),
        ("<a", vec![]),
    ] {
        assert_eq!(hrefs(page), want, "{page}");
    }
}

proptest! {
    #[test]
    fn no_page_panics_or_hangs(page in "[<>a-hA-H =\"'/&;#x!é-]{0,200}") {
        hrefs(&page);
    }

    #[test]
    fn escaped_names_come_back(name in any::<String>()) {
        let name = name.trim().to_owned();
        let escaped = name.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;");
        prop_assert_eq!(hrefs(&format!("<a href=\"{escaped}\">x</a>")), vec![name]);
    }
}
