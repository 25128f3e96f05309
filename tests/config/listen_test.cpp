#include "saathii/config/listen.hpp"

#include <string>

#include "catch.hpp"

using namespace saathii;

namespace {

std::string read(std::string_view text) {
  std::string error;
  const auto address = config::parse_listen(text, error);
  if (!address) return error;
  switch (address->kind) {
    case config::ListenAddress::Kind::off:
      return "off";
    case config::ListenAddress::Kind::tcp:
      return "tcp " + address->host + " " + std::to_string(address->port);
    case config::ListenAddress::Kind::unix_socket:
      return "unix " + address->path;
  }
  return "";
}

}  // namespace

TEST_CASE("addresses of this host to listen on") {
  CHECK(read("") == "off");
  CHECK(read("127.0.0.1:9464") == "tcp 127.0.0.1 9464");
  CHECK(read("127.1.2.3:1") == "tcp 127.1.2.3 1");
  CHECK(read("[::1]:65535") == "tcp ::1 65535");
  CHECK(read("127.0.0.1:0") == "tcp 127.0.0.1 0");
  CHECK(read("unix:/run/saathiid/http.sock") == "unix /run/saathiid/http.sock");
  CHECK(read("unix:/" + std::string(106, 'x')) == "unix /" + std::string(106, 'x'));
}

TEST_CASE("addresses of others are refused, with what to do instead") {
  for (const auto* text : {"0.0.0.0:9464", "10.0.0.1:9464", "[::]:9464", "[fe80::1]:80",
                           "128.0.0.1:9464", "[::ffff:127.0.0.1]:9464"}) {
    INFO(text);
    CHECK(read(text).find("is not a loopback address: saathiid answers this host alone") !=
          std::string::npos);
    CHECK(read(text).find("reverse proxy") != std::string::npos);
  }
}

TEST_CASE("what is no address is refused") {
  for (const auto* text :
       {"9464", ":9464", "*:9464", "localhost:9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
        "127.0.0.1:-1", "127.0.0.1:80x", "::1:9464", "127.0.0.01:x", "[::1]", "[127.0.0.1]:80",
        "http://127.0.0.1:9464", "/run/saathiid/http.sock", " ", "[::1:80"}) {
    INFO(text);
    CHECK(read(text) ==
          "allowed: \"\" (off), \"127.0.0.1:9464\", \"[::1]:9464\" or "
          "\"unix:/run/saathiid/http.sock\"");
  }
  // What follows a zero byte is part of the host.
  CHECK(read(std::string("127.0.0.1\0x:80", 14)).starts_with("allowed: "));
  CHECK(read(std::string("[::1\0x]:80", 10)).starts_with("allowed: "));
  for (const auto* text : {"unix:", "unix:http.sock", "unix://", "unix:/run/"}) {
    INFO(text);
    CHECK(read(text).find("a Unix socket is an absolute path") == 0);
  }
  const std::string too_long = "a Unix socket's path holds at most 107 bytes";
  CHECK(read("unix:/" + std::string(107, 'x')) == too_long);
  CHECK(read(std::string("unix:/a\0b", 9)) == too_long);
}
