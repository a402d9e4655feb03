/*
 * url_test.c - addresses, good and bad; run by core/url_spec.lua.
 * SPDX-License-Identifier: MIT
 */
#include "base/url.h"
#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
  const char *text, *host;
  int port;
  const char *path;
  bool tls, loopback;
} good[] = {
    {"ws://example.com", "example.com", 80, "/", false, false},
    {"wss://example.com", "example.com", 443, "/", true, false},
    {"http://example.com/", "example.com", 80, "/", false, false},
    {"https://example.com/a/b?c=d", "example.com", 443, "/a/b?c=d", true, false},
    {"HTTPS://Example.Com:8443/x", "Example.Com", 8443, "/x", true, false},
    {"ws://example.com:1?x", "example.com", 1, "/?x", false, false},
    {"ws://example.com:65535#y", "example.com", 65535, "/", false, false},
    {"ws://example.com/a#b@c", "example.com", 80, "/a", false, false},
    {"ws://example.com?x#y", "example.com", 80, "/?x", false, false},
    {"ws://example.com/@", "example.com", 80, "/@", false, false},
    {"ws://my_host-1", "my_host-1", 80, "/", false, false},
    {"ws://b\xc3\xbc"
     "cher.example",
     "b\xc3\xbc"
     "cher.example",
     80, "/", false, false},
    {"ws://localhost:4309", "localhost", 4309, "/", false, true},
    {"ws://LOCALHOST", "LOCALHOST", 80, "/", false, true},
    {"ws://127.0.0.1", "127.0.0.1", 80, "/", false, true},
    {"ws://127.9.8.7", "127.9.8.7", 80, "/", false, true},
    {"ws://[::1]:9/x", "::1", 9, "/x", false, true},
    {"ws://[0:0:0:0:0:0:0:1]", "0:0:0:0:0:0:0:1", 80, "/", false, true},
    {"ws://[::ffff:127.9.8.7]", "::ffff:127.9.8.7", 80, "/", false, true},
    {"ws://foo.localhost", "foo.localhost", 80, "/", false, true},
    {"ws://[2001:db8::1]", "2001:db8::1", 80, "/", false, false},
    {"ws://[fe80::1%eth0]/", "fe80::1%eth0", 80, "/", false, false},
    {"ws://[fe80::1%25eth0]/", "fe80::1%eth0", 80, "/", false, false},
    {"ws://[fe80::1%25]/", "fe80::1%25", 80, "/", false, false},
    /* what only looks like loopback */
    {"ws://127.0.0.1.example.com", "127.0.0.1.example.com", 80, "/", false, false},
    {"ws://localhost.example.com", "localhost.example.com", 80, "/", false, false},
    {"ws://127.0.0.999", "127.0.0.999", 80, "/", false, false},
    {"ws://notlocalhost", "notlocalhost", 80, "/", false, false},
    {"ws://128.0.0.1", "128.0.0.1", 80, "/", false, false},
    {"ws://127.1", "127.1", 80, "/", false, false},
    {"ws://0.0.0.0", "0.0.0.0", 80, "/", false, false},
    {"ws://[::]", "::", 80, "/", false, false},
    {"ws://[::ffff:8.8.8.8]", "::ffff:8.8.8.8", 80, "/", false, false},
};

static void test_good(void) {
  for (size_t i = 0; i < COUNT(good); i++) {
    char *copy = exact_copy(good[i].text, strlen(good[i].text) + 1);
    struct url url;
    const char *wrong = url_parse(&url, copy);
    CHECK(!wrong, "%s: %s", good[i].text, wrong);
    if (!wrong) {
      CHECK(!strcmp(url.host, good[i].host), "%s: %s", good[i].text, url.host);
      CHECK(!strcmp(url.path, good[i].path), "%s: %s", good[i].text, url.path);
      CHECK(url.port == good[i].port && url.tls == good[i].tls, "%s: %d", good[i].text, url.port);
      CHECK(url.loopback == good[i].loopback, "%s", good[i].text);
    }
    free(copy);
  }
}

static const struct {
  const char *text, *wrong; /* a part of the message */
} bad[] = {
    {"", "begin with ws://"},
    {"example.com", "begin with ws://"},
    {"ftp://example.com", "begin with ws://"},
    {"ws:/example.com", "begin with ws://"},
    {" ws://example.com", "begin with ws://"},
    {"ws://", "no valid host"},
    {"ws:///path", "no valid host"},
    {"ws://:80", "no valid host"},
    {"ws://[fe80::1%]/", "no valid host"},
    {"ws://[fe80::1%interfaces-are-short]/", "no valid host"},
    {"ws://[fe80::1%b\xc3\xbc]/", "no valid host"},
    {"ws://?x", "no valid host"},
    {"ws://[::1", "no valid host"},
    {"ws://[]", "no valid host"},
    {"ws://[localhost]", "no valid host"},
    {"ws://[127.0.0.1]", "no valid host"},
    {"ws://[::1%;]", "no valid host"},
    {"ws://::1", "no valid host"},
    {"ws://127.0.0.1\\.example.com", "no valid host"},
    {"ws://local%68ost", "no valid host"},
    {"ws://a;b", "no valid host"},
    {"ws://a,b", "no valid host"},
    {"ws://user@example.com", "user name or password"},
    {"ws://user:secret@example.com", "user name or password"},
    {"ws://127.0.0.1:80@example.com/", "user name or password"},
    {"ws://exa mple.com", "space or a control character"},
    {"ws://example.com/\r\nX: y", "space or a control character"},
    {"ws://example.com/\x7f", "space or a control character"},
    {"ws://example.com:", "port must be"},
    {"ws://example.com:0", "port must be"},
    {"ws://example.com:65536", "port must be"},
    {"ws://example.com:99999999999999999999", "port must be"},
    {"ws://example.com:-1", "port must be"},
    {"ws://example.com:+80", "port must be"},
    {"ws://example.com:80x", "port must be"},
    {"ws://example.com:80:80", "port must be"},
    {"ws://[::1]x", "port must be"},
};

static void test_bad(void) {
  for (size_t i = 0; i < COUNT(bad); i++) {
    char *copy = exact_copy(bad[i].text, strlen(bad[i].text) + 1);
    struct url url;
    const char *wrong = url_parse(&url, copy);
    CHECK(wrong && strstr(wrong, bad[i].wrong), "%s: %s", bad[i].text, wrong ? wrong : "taken");
    CHECK(!wrong || !strstr(wrong, "secret"), "%s", bad[i].text);
    free(copy);
  }
}

/* "ws://" and `host` letters, "/" and `path` letters. */
static const char *parse_long(struct url *url, size_t host, size_t path) {
  static char text[4096];
  memset(text, 'a', sizeof text);
  memcpy(text, "ws://", 5);
  text[5 + host] = '/';
  text[5 + host + 1 + path] = 0;
  return url_parse(url, text);
}

static void test_long(void) {
  struct url url;
  CHECK(!parse_long(&url, sizeof url.host - 1, 1) && strlen(url.host) == sizeof url.host - 1,
        "the longest host");
  CHECK(parse_long(&url, sizeof url.host, 1), "a longer host");
  CHECK(!parse_long(&url, 1, sizeof url.path - 2) && strlen(url.path) == sizeof url.path - 1,
        "the longest path");
  CHECK(parse_long(&url, 1, sizeof url.path - 1), "a longer path");
}

int main(int argc, char **argv) {
  static const struct section sections[] = {{"good", test_good}, {"bad", test_bad}, {"long", test_long}};
  return run_section(sections, COUNT(sections), argc, argv);
}
