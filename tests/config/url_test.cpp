#include "saathii/config/url.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "kinds.hpp"
#include "saathii/config/loader.hpp"

using namespace saathii;

namespace {

std::string postgres(std::string_view url) {
  std::string error;
  const auto accepted = config::parse_postgres_url(url, error);
  return accepted ? "ok " + *accepted : error;
}

std::string redis(std::string_view url) {
  std::string error;
  const auto address = config::parse_redis_url(url, error);
  if (!address) return error;
  return "ok host=" + address->host + " port=" + std::to_string(address->port) +
         " path=" + address->path + " user=" + address->username +
         " password=" + address->password + " db=" + std::to_string(address->database);
}

std::string sentinel(std::string_view url) {
  std::string error;
  const auto address = config::parse_redis_url(url, error);
  if (!address) return error;
  std::string text = "ok";
  for (const auto& place : address->sentinels) {
    text += " " + place.host + ":" + std::to_string(place.port);
  }
  return text + " master=" + address->master_name + " db=" + std::to_string(address->database) +
         " " + address->username + "/" + address->password + " " + address->sentinel_username +
         "/" + address->sentinel_password;
}

}  // namespace

TEST_CASE("PostgreSQL URLs that libpq takes") {
  for (const auto* url :
       {"postgresql://", "postgresql:///db", "postgres://localhost", "postgresql://h:5433/db",
        "postgresql://user@h/db", "postgresql://user:s%40crt@h/db?sslmode=require",
        "postgresql://h1:5432,h2:5433,h3/db?target_session_attrs=read-write",
        "postgresql:///db?host=/run/postgresql", "postgresql://%2Frun%2Fpostgresql/db",
        "postgresql://[::1]:5432/db", "postgresql://u:p?#x@h/db", "postgresql://h:/db",
        "postgresql:///db?user=u&password=p%26q&options=-c%20geqo%3Doff"}) {
    CHECK(postgres(url) == "ok " + std::string(url));
  }
  CHECK(postgres("postgresql+asyncpg://u:p@h/db") == "ok postgresql://u:p@h/db");
  CHECK(postgres("postgres+psycopg2://h/db") == "ok postgres://h/db");
}

TEST_CASE("PostgreSQL URLs that are refused") {
  const std::string allowed =
      "; allowed: postgresql://[user[:password]@][host][:port][,…][/db][?name=value&…]";
  const std::string hint =
      "; in a user or password write '@' as %40, '/' as %2F, ':' as %3A, '%' as %25";
  CHECK(postgres("") == "found no scheme" + allowed);
  CHECK(postgres("host=db user=x") == "found no scheme" + allowed);
  CHECK(postgres("mysql://h/db") == "found the scheme \"mysql\"" + allowed);
  CHECK(postgres("postgresql://h:99999/db") ==
        "found a port that is not a number from 1 to 65535" + hint);
  CHECK(postgres("postgresql://h:port/db") ==
        "found a port that is not a number from 1 to 65535" + hint);
  CHECK(postgres("postgresql://[::1/db") == "found an IPv6 address without its closing ']'");
  CHECK(postgres("postgresql://u:p@ss@h/db") ==
        "found a '@' or '#' behind the server's name" + hint);
  CHECK(postgres("postgresql://u:p%zz@h/db") ==
        "found a '%' that two hexadecimal digits do not follow" + hint);
  CHECK(postgres("postgresql://h/d b") ==
        "found a space or another character that a URL must write as %XX");
  CHECK(postgres("postgresql://h/db?sslmod=require") ==
        "found the unknown query parameter \"sslmod\"; did you mean \"sslmode\"?");
  CHECK(postgres("postgresql://h/db?zzz=1") ==
        "found an unknown query parameter; allowed: the connection parameters of libpq");
  CHECK(postgres("postgresql://h/db?sslmode") ==
        "found a query parameter without '='; allowed: name=value, joined by '&'");
}

TEST_CASE("Redis URLs") {
  CHECK(redis("redis://h") == "ok host=h port=6379 path= user= password= db=0");
  CHECK(redis("redis://:p%40ss@h:6380/3") == "ok host=h port=6380 path= user= password=p@ss db=3");
  CHECK(redis("redis://u:p@[::1]:1/") == "ok host=::1 port=1 path= user=u password=p db=0");
  CHECK(redis("redis://h?db=2") == "ok host=h port=6379 path= user= password= db=2");
  CHECK(redis("unix:///run/redis%20x.sock?db=4") ==
        "ok host= port=6379 path=/run/redis x.sock user= password= db=4");
  CHECK(redis("unix://:p@/run/r.sock") ==
        "ok host= port=6379 path=/run/r.sock user= password=p db=0");

  const std::string allowed =
      "; allowed: redis://[[user]:password@]host[:port][/db], unix:///path/to.sock[?db=N] or "
      "redis+sentinel://[[user]:password@]host[:port][,…]/master[/db]";
  CHECK(redis("localhost:6379") == "found no scheme" + allowed);
  CHECK(redis("http://h") == "found the scheme \"http\"" + allowed);
  CHECK(redis("rediss://h").starts_with("found rediss://, but this build has no TLS for Redis"));
  CHECK(redis("redis://") == "found no host; allowed: redis://host, redis://host:port/db");
  CHECK(redis("redis://h/first").starts_with("found a database that is not a whole number"));
  CHECK(redis("redis://h?db=-1").starts_with("found a database that is not a whole number"));
  CHECK(redis("redis://h:0").starts_with("found a port that is not a number from 1 to 65535"));
  CHECK(redis("redis://h?username=u") == "ok host=h port=6379 path= user=u password= db=0");
  CHECK(redis("redis://word@h").starts_with("found a '@' but no password before it"));
  CHECK(redis("unix://run/r.sock").starts_with("found no absolute path"));
  CHECK(redis("redis://h?dbb=1") ==
        "found the unknown query parameter \"dbb\"; did you mean \"db\"?");
}

TEST_CASE("URLs of Redis by its sentinels") {
  CHECK(sentinel("redis+sentinel://a/mymaster") == "ok a:26379 master=mymaster db=0 / /");
  CHECK(sentinel("redis+sentinel://u:p%40@a:1,[::1]:2,b/my%20master/3") ==
        "ok a:1 ::1:2 b:26379 master=my master db=3 u/p@ /");
  CHECK(
      sentinel("redis+sentinel://a/m/?db=2&username=u&sentinel_username=s&sentinel_password=%26") ==
      "ok a:26379 master=m db=2 u/ s/&");
  const std::string no_master = "found no name of a master; allowed: redis+sentinel://";
  CHECK_THAT(sentinel("redis+sentinel://a,b"), Catch::Matchers::StartsWith(no_master));
  CHECK_THAT(sentinel("redis+sentinel://a//0"), Catch::Matchers::StartsWith(no_master));
  for (const auto* url :
       {"redis+sentinel:///m", "redis+sentinel://a,,b/m", "redis+sentinel://a,/m"}) {
    CHECK_THAT(sentinel(url),
               Catch::Matchers::StartsWith("found no host of a sentinel; allowed: "));
  }
  CHECK_THAT(sentinel("redis+sentinel://a/m/first"),
             Catch::Matchers::StartsWith("found a database that is not a whole number"));
  CHECK_THAT(sentinel("redis+sentinel://a:x/m"),
             Catch::Matchers::StartsWith("found a port that is not a number"));
  CHECK_THAT(sentinel("rediss+sentinel://a/m"),
             Catch::Matchers::StartsWith("found rediss+sentinel://, but this build has no TLS"));
  std::string many = "redis+sentinel://h0";
  for (std::size_t i = 1; i < config::max_sentinels; ++i) many += ",h" + std::to_string(i);
  CHECK_THAT(sentinel(many + "/m"), Catch::Matchers::StartsWith("ok h0:26379 h1:26379"));
  CHECK(sentinel(many + ",one-more/m") == "found more than 16 sentinels; name some of them");
  CHECK(sentinel("redis+sentinel://a/m?sentinel_passwort=hunter2") ==
        "found the unknown query parameter \"sentinel_passwort\"; did you mean "
        "\"sentinel_password\"?");
  CHECK(redis("redis://a?sentinel_password=hunter2") ==
        "found an unknown query parameter; allowed: db, username, password");
  CHECK_THAT(redis("redis://a,b"), Catch::Matchers::StartsWith("found several hosts; allowed: "));

  CHECK(config::mask_url("redis+sentinel://u:hunter2@a,b:1/m/0?sentinel_username=s"
                         "&sentinel_password=hunter2") ==
        "redis+sentinel://u:***@a,b:1/m/0?sentinel_username=s&sentinel_password=***");
  CHECK(config::has_password("redis+sentinel://:p@a/m"));
  CHECK_FALSE(config::has_password("redis+sentinel://a/m?sentinel_password=p"));
  CHECK(config::has_sentinel_password("redis+sentinel://a/m?sentinel_password=p"));
  CHECK_FALSE(config::has_sentinel_password("redis+sentinel://:p@a/m"));
}

TEST_CASE("several hosts of PostgreSQL, of which one takes writes") {
  for (const auto* url : {"postgresql://h1,h2/db", "postgresql:///db?host=h1,h2",
                          "postgresql:///db?host=%2Fa%2Ch2", "postgresql:///db?hostaddr=::1,::2"}) {
    CHECK(config::is_any_of_several(url));
    CHECK_FALSE(
        config::is_any_of_several(config::with_parameter(url, "target_session_attrs", "primary")));
  }
  CHECK_FALSE(config::is_any_of_several("postgresql://h/db?host=i"));
  for (const auto* target : {"any", "primary", "read-write"}) {
    const auto url = "postgresql://h1,h2/db?target_session_attrs=" + std::string(target);
    CHECK(postgres(url) == "ok " + url);
  }
  for (const auto* target : {"standby", "read-only", "prefer-standby"}) {
    CHECK(postgres("postgresql://h1,h2/db?target_session_attrs=" + std::string(target)) ==
          "found target_session_attrs=" + std::string(target) +
              ", which finds a server that takes no writes; allowed: read-write, primary");
  }
  CHECK(postgres("postgresql://h/db?target_session_attrs=readwrite") ==
        "found a target_session_attrs that libpq does not know; allowed: read-write, primary, any");
}

TEST_CASE("whether a URL has a password") {
  for (const auto* url : {"postgresql://u:p@h/db", "postgresql:///db?password=p", "redis://:p@h",
                          "unix:///run/r.sock?db=1&password=p"}) {
    CHECK(config::has_password(url));
  }
  for (const auto* url : {"postgresql://u@h/db", "postgresql://u:@h/db", "postgresql:///db",
                          "postgresql:///db?password=&passfile=/p", "redis://h?username=u"}) {
    CHECK_FALSE(config::has_password(url));
  }
}

TEST_CASE("a parameter is added to a URL whatever is in it") {
  const std::string odd = "p @:/?#&=%\xc3\xb6-_.~Z9";
  const std::string encoded = "p%20%40%3A%2F%3F%23%26%3D%25%C3%B6-_.~Z9";
  const auto with = [&](const char* url) { return config::with_parameter(url, "password", odd); };
  CHECK(with("postgresql://u@h/db") == "postgresql://u@h/db?password=" + encoded);
  CHECK(with("postgresql:///db?host=/run") == "postgresql:///db?host=/run&password=" + encoded);
  CHECK(with("postgresql://u:a?b@h/db") == "postgresql://u:a?b@h/db?password=" + encoded);
  CHECK(with("postgresql://") == "postgresql://?password=" + encoded);
  CHECK(with("postgresql:///db?options=a/b@c").ends_with("a/b@c&password=" + encoded));
  CHECK(postgres(with("postgresql://")).starts_with("ok "));
  // Behind a query that is empty or ends with '&', libpq takes no second separator.
  CHECK(with("postgresql://h/db?") == "postgresql://h/db?password=" + encoded);
  CHECK(with("postgresql://h/db?port=1&") == "postgresql://h/db?port=1&password=" + encoded);
  CHECK(postgres(with("postgresql://h/db?port=1&")).starts_with("ok "));
}

TEST_CASE("masked URLs keep all but the passwords") {
  const auto mask = config::mask_url;
  CHECK(mask("postgresql://u:hunter2@h:5432,i/db?sslmode=require") ==
        "postgresql://u:***@h:5432,i/db?sslmode=require");
  CHECK(mask("postgresql://u@h/db") == "postgresql://u@h/db");
  CHECK(mask("postgresql:///db?host=/run&password=hunter2&sslpassword=hunter2") ==
        "postgresql:///db?host=/run&password=***&sslpassword=***");
  // A name may be a piece of a password that holds an '&'.
  CHECK(mask("postgresql:///db?password=x&hunter2=y") == "postgresql:///db?password=***&***=***");
  CHECK(mask("postgresql://h?password=a/b&user=c@d") == "postgresql://h?password=***&user=c%40d");
  CHECK(mask("redis://:hunter2@h:6379/0") == "redis://:***@h:6379/0");
  CHECK(mask("redis://hunter2@h") == "redis://***@h");
  CHECK(mask("unix:///run/r.sock?password=hunter2&db=1") == "unix:///run/r.sock?password=***&db=1");
  CHECK(mask("postgresql://u:hunt@er2@h/db") == "postgresql://***");
  CHECK(mask("postgresql://u:12/hunter2@h/db") == "postgresql://***");
  CHECK(mask("hunter2") == "***");
  CHECK(mask("u:hunter2@h/db") == "***");
}

TEST_CASE("no secret is in a problem or in what is printed, however the URL is wrong") {
  const std::vector<std::string> urls = {"postgresql://u:hunter2@h/db",
                                         "postgresql://u:x/hunter2@h/db",
                                         "postgresql://u:12/hunter2@h/db",
                                         "postgresql://u:x@hunter2@h/db",
                                         "postgresql://u:hunter2%@h/db",
                                         "postgresql://u:hunter2 @h/db",
                                         "postgresql://u:x#hunter2@h:z/db",
                                         "postgresql://h/db?pasword=hunter2",
                                         "postgresql://h/db?password=x&hunter2=y",
                                         "redis://:hunter2@h/x",
                                         "redis://hunter2@h",
                                         "redis://:x/hunter2@h",
                                         "redis://:x?hunter2@h",
                                         "rediss://:hunter2@h",
                                         "unix://:hunter2@",
                                         "mysql://u:hunter2@h",
                                         "u:hunter2@h",
                                         "hunter2",
                                         "host=h password=hunter2",
                                         "redis://h:hunter2",
                                         "redis+sentinel://:hunter2@a/m",
                                         "redis+sentinel://:hunter2@a",
                                         "redis+sentinel://a/m?sentinel_password=hunter2",
                                         "redis+sentinel://a/m?sentinel_pasword=hunter2",
                                         "redis+sentinel://a/m/x?sentinel_password=hunter2",
                                         "redis://h?db=hunter2"};
  // Where it is meant, in the other's place, and where no URL is meant at all.
  const std::vector<std::string> lines = {
      "postgres.url = \"URL\"",   "redis.url = \"URL\"",
      "postgres.url = [\"URL\"]", "redis = \"URL\"",
      "log.level = \"URL\"",      "timezone = \"URL\"",
      "rates.audio = \"URL\"",    "postgres.url = URL",
      "postgres.url = \"URL",     "settlement.earnings_in = \"URL\""};
  for (const auto& url : urls) {
    for (auto line : lines) {
      // Outside of a URL's place plain words are no secret to anyone.
      const bool is_url = url.find("://") != std::string::npos;
      const bool in_place = line.starts_with("postgres.url = \"") || line.starts_with("redis.url");
      if (!is_url && !in_place) continue;
      line.replace(line.find("URL"), 3, url);
      const auto loaded = config::parse(line, "f", test::kinds(), test::no_environment());
      for (const auto& problem : loaded.problems) {
        INFO(problem.message);
        CHECK(problem.message.find("hunter2") == std::string::npos);
      }
    }
    const auto loaded = config::parse("", "f", test::kinds(), [&](std::string_view name) {
      return name == "LOG_LEVEL" ? std::nullopt : std::optional<std::string>(url);
    });
    for (const auto& problem : loaded.problems) {
      CHECK(problem.to_string().find("hunter2") == std::string::npos);
    }
    if (loaded.config) {
      CHECK(config::print(*loaded.config, test::kinds()).find("hunter2") == std::string::npos);
    }
  }
}
