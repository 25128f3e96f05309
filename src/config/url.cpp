#include "saathii/config/url.hpp"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <utility>
#include <vector>

#include "saathii/config/nearest.hpp"

namespace saathii::config {
namespace {

/// The pieces of a URL as written, still percent-encoded.
struct Pieces {
  std::string_view scheme;
  bool has_credentials = false;
  std::string_view user;
  std::optional<std::string_view> password;
  std::string_view hosts;
  std::string_view path;  ///< with its leading '/'
  std::vector<std::pair<std::string_view, std::string_view>> query;
};

// The words that libpq takes in a URL's query, of all its versions since 15,
// but for its two passwords, which are never shown.
constexpr std::string_view libpq_words =
    "application_name channel_binding client_encoding connect_timeout dbname "
    "fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives "
    "keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts "
    "max_protocol_version min_protocol_version options passfile port replication require_auth "
    "requirepeer requiressl service servicefile ssl ssl_max_protocol_version "
    "ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslmode "
    "sslnegotiation sslrootcert sslsni target_session_attrs tcp_user_timeout user";
constexpr std::string_view libpq_secrets = "password sslpassword";
constexpr std::string_view redis_words = "db username";
constexpr std::string_view redis_secrets = "password";
constexpr std::string_view sentinel_words = "sentinel_username";
constexpr std::string_view sentinel_secrets = "sentinel_password";
constexpr std::string_view sentinel_scheme = "redis+sentinel";
constexpr int sentinel_port = 26379;

std::vector<std::string_view> split_words(std::initializer_list<std::string_view> texts) {
  std::vector<std::string_view> words;
  for (auto text : texts) {
    while (!text.empty()) {
      const auto end = text.find(' ');
      words.push_back(text.substr(0, end));
      text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    }
  }
  return words;
}

bool contains(const std::vector<std::string_view>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Names the parameter only where it is a misspelt one: it may as well be a
/// piece of a password that holds an '&'.
std::string unknown_parameter(std::string_view name, const std::vector<std::string_view>& known,
                              std::string_view allowed) {
  const auto near = nearest(name, known);
  if (near.empty()) return "found an unknown query parameter; allowed: " + std::string(allowed);
  return "found the unknown query parameter \"" + std::string(name) + "\"; did you mean \"" +
         std::string(near) + "\"?";
}

constexpr std::string_view no_scheme = "found no scheme";
constexpr std::string_view escape_hint =
    "; in a user or password write '@' as %40, '/' as %2F, ':' as %3A, '%' as %25";

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

std::optional<std::string> decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) return std::nullopt;
    unsigned byte = 0;
    std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16);
    if (byte == 0) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

std::optional<int> number(std::string_view text, int least, int most) {
  int value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (value < least || value > most) return std::nullopt;
  return value;
}

bool is_scheme(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  });
}

bool split_query(std::string_view text, Pieces& pieces, std::string& error) {
  while (!text.empty()) {
    const auto end = text.find('&');
    const auto pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    const auto equals = pair.find('=');
    if (equals == std::string_view::npos) {
      error = "found a query parameter without '='; allowed: name=value, joined by '&'";
      return false;
    }
    pieces.query.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    if (!decode(pair.substr(equals + 1))) {
      error = "found a '%' that two hexadecimal digits do not follow" + std::string(escape_hint);
      return false;
    }
  }
  return true;
}

/// Splits as libpq does: credentials end at the first '@' before the first '/'.
std::optional<Pieces> split(std::string_view url, std::string& error) {
  Pieces pieces;
  const auto colon = url.find("://");
  if (colon == std::string_view::npos || !is_scheme(url.substr(0, colon))) {
    error = no_scheme;
    return std::nullopt;
  }
  pieces.scheme = url.substr(0, colon);
  auto rest = url.substr(colon + 3);
  if (std::any_of(rest.begin(), rest.end(), [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7f;
      })) {
    error = "found a space or another character that a URL must write as %XX";
    return std::nullopt;
  }
  const auto at = rest.find('@');
  if (at != std::string_view::npos && at < rest.find('/')) {
    pieces.has_credentials = true;
    const auto credentials = rest.substr(0, at);
    const auto separator = credentials.find(':');
    pieces.user = credentials.substr(0, separator);
    if (separator != std::string_view::npos) pieces.password = credentials.substr(separator + 1);
    rest = rest.substr(at + 1);
  }
  const auto question = rest.find('?');
  const auto before = rest.substr(0, question);
  if (before.find_first_of("@#") != std::string_view::npos) {
    error = "found a '@' or '#' behind the server's name" + std::string(escape_hint);
    return std::nullopt;
  }
  const auto slash = before.find('/');
  pieces.hosts = before.substr(0, slash);
  if (slash != std::string_view::npos) pieces.path = before.substr(slash);
  for (const auto part : {pieces.user, pieces.password.value_or(""), pieces.hosts, pieces.path}) {
    if (!decode(part)) {
      error = "found a '%' that two hexadecimal digits do not follow" + std::string(escape_hint);
      return std::nullopt;
    }
  }
  const auto query =
      question == std::string_view::npos ? std::string_view{} : rest.substr(question + 1);
  if (!split_query(query, pieces, error)) return std::nullopt;
  return pieces;
}

/// Reads "host", "host:port", "[v6]:port"; an empty port means the default.
bool split_host(std::string_view text, std::string& host, int& port, std::string& error) {
  auto colon = text.find(':');
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos || (close + 1 < text.size() && text[close + 1] != ':')) {
      error = "found an IPv6 address without its closing ']'";
      return false;
    }
    host = text.substr(1, close - 1);
    colon = close + 1 < text.size() ? close + 1 : std::string_view::npos;
  } else {
    host = decode(text.substr(0, colon)).value_or("");
  }
  if (colon == std::string_view::npos || colon + 1 == text.size()) return true;
  const auto found = number(text.substr(colon + 1), 1, 65535);
  if (!found) {
    error = "found a port that is not a number from 1 to 65535" + std::string(escape_hint);
    return false;
  }
  port = *found;
  return true;
}

bool redis_query(const Pieces& pieces, RedisAddress& address, std::string& error) {
  const bool by_sentinel = pieces.scheme == sentinel_scheme;
  for (const auto& [name, value] : pieces.query) {
    if (name == "password") {
      address.password = decode(value).value_or("");
    } else if (name == "username") {
      address.username = decode(value).value_or("");
    } else if (by_sentinel && name == "sentinel_password") {
      address.sentinel_password = decode(value).value_or("");
    } else if (by_sentinel && name == "sentinel_username") {
      address.sentinel_username = decode(value).value_or("");
    } else if (name == "db") {
      const auto database = number(value, 0, 65535);
      if (!database) {
        error = "found a database that is not a whole number such as 0";
        return false;
      }
      address.database = *database;
    } else {
      error = by_sentinel
                  ? unknown_parameter(
                        name,
                        split_words({redis_words, redis_secrets, sentinel_words, sentinel_secrets}),
                        "db, username, password, sentinel_username, sentinel_password")
                  : unknown_parameter(name, split_words({redis_words, redis_secrets}),
                                      "db, username, password");
      return false;
    }
  }
  return true;
}

bool redis_database(std::string_view text, RedisAddress& address, std::string& error) {
  const auto database = number(text, 0, 65535);
  if (!database) {
    error = "found a database that is not a whole number such as 0" + std::string(escape_hint);
    return false;
  }
  address.database = *database;
  return true;
}

/// "host[:port],.../master[/db]".
bool sentinel_place(const Pieces& pieces, RedisAddress& address, std::string& error) {
  for (std::string_view rest = pieces.hosts;;) {
    const auto comma = rest.find(',');
    HostAndPort sentinel{.host = {}, .port = sentinel_port};
    if (!split_host(rest.substr(0, comma), sentinel.host, sentinel.port, error)) return false;
    if (sentinel.host.empty()) {
      error = "found no host of a sentinel; allowed: redis+sentinel://host[:port][,…]/master";
      return false;
    }
    address.sentinels.push_back(std::move(sentinel));
    if (comma == std::string_view::npos) break;
    rest = rest.substr(comma + 1);
    if (address.sentinels.size() == max_sentinels) {
      error = "found more than " + std::to_string(max_sentinels) + " sentinels; name some of them";
      return false;
    }
  }
  const auto path = pieces.path.empty() ? std::string_view{} : pieces.path.substr(1);
  const auto slash = path.find('/');
  address.master_name = decode(path.substr(0, slash)).value_or("");
  if (address.master_name.empty()) {
    error =
        "found no name of a master; allowed: redis+sentinel://host[:port][,…]/master[/db], with "
        "the name that the sentinels know it by, such as mymaster";
    return false;
  }
  if (slash == std::string_view::npos || slash + 1 == path.size()) return true;
  return redis_database(path.substr(slash + 1), address, error);
}

bool redis_place(const Pieces& pieces, RedisAddress& address, std::string& error) {
  if (pieces.scheme == sentinel_scheme) return sentinel_place(pieces, address, error);
  if (pieces.scheme == "unix") {
    address.path = decode(pieces.path).value_or("");
    if (!pieces.hosts.empty() || address.path.size() < 2) {
      error = "found no absolute path; allowed: unix:///path/to.sock, with ?db=N if not 0";
      return false;
    }
    return true;
  }
  if (pieces.hosts.find(',') != std::string_view::npos) {
    error =
        "found several hosts; allowed: redis://host, or redis+sentinel://host,host/master where "
        "they are sentinels";
    return false;
  }
  if (!split_host(pieces.hosts, address.host, address.port, error)) return false;
  if (address.host.empty()) {
    error = "found no host; allowed: redis://host, redis://host:port/db";
    return false;
  }
  return pieces.path.size() <= 1 || redis_database(pieces.path.substr(1), address, error);
}

/// Of the kinds of sessions that libpq can be told to look for, those in which
/// nothing can be written.
constexpr std::string_view useless_sessions = "prefer-standby read-only standby";
constexpr std::string_view useful_sessions = "any primary read-write";

bool postgres_target(const Pieces& pieces, std::string& error) {
  for (const auto& [name, value] : pieces.query) {
    if (name != "target_session_attrs") continue;
    const auto target = decode(value).value_or("");
    if (contains(split_words({useful_sessions}), target)) continue;
    error = contains(split_words({useless_sessions}), target)
                ? "found target_session_attrs=" + target +
                      ", which finds a server that takes no writes; allowed: read-write, primary"
                : "found a target_session_attrs that libpq does not know; allowed: read-write, "
                  "primary, any";
    return false;
  }
  return true;
}

bool is_shown(std::string_view name) {
  return contains(split_words({libpq_words, redis_words, sentinel_words}), name);
}

bool is_known(std::string_view name) {
  return is_shown(name) ||
         contains(split_words({libpq_secrets, redis_secrets, sentinel_secrets}), name);
}

/// What says the same, where a '/' that stood before it is masked.
std::string without_at(std::string_view value) {
  std::string text;
  for (const char c : value) {
    c == '@' ? text += "%40" : text += c;
  }
  return text;
}

}  // namespace

std::optional<RedisAddress> parse_redis_url(std::string_view url, std::string& error) {
  constexpr std::string_view allowed =
      "; allowed: redis://[[user]:password@]host[:port][/db], unix:///path/to.sock[?db=N] or "
      "redis+sentinel://[[user]:password@]host[:port][,…]/master[/db]";
  const auto pieces = split(url, error);
  if (!pieces) {
    if (error == no_scheme) error += allowed;
    return std::nullopt;
  }
  if (pieces->scheme == "rediss" || pieces->scheme == "rediss+sentinel") {
    error = "found " + std::string(pieces->scheme) +
            "://, but this build has no TLS for Redis; use redis:// to a server nearby, a "
            "unix:// socket, or a TLS tunnel such as stunnel";
    return std::nullopt;
  }
  if (pieces->scheme != "redis" && pieces->scheme != "unix" && pieces->scheme != sentinel_scheme) {
    error = "found the scheme \"" + std::string(pieces->scheme) + "\"" + std::string(allowed);
    return std::nullopt;
  }
  RedisAddress address;
  address.username = decode(pieces->user).value_or("");
  address.password = decode(pieces->password.value_or("")).value_or("");
  if (!redis_place(*pieces, address, error) || !redis_query(*pieces, address, error)) {
    return std::nullopt;
  }
  // Who forgot the colon of "redis://:password@host" wrote a password.
  if (address.password.empty() && pieces->has_credentials) {
    error =
        "found a '@' but no password before it; allowed: redis://:password@host, "
        "redis://user:password@host, or redis://host?username=user with password_file";
    return std::nullopt;
  }
  return address;
}

std::optional<std::string> parse_postgres_url(std::string_view url, std::string& error) {
  constexpr std::string_view allowed =
      "; allowed: postgresql://[user[:password]@][host][:port][,…][/db][?name=value&…]";
  const auto pieces = split(url, error);
  if (!pieces) {
    if (error == no_scheme) error += allowed;
    return std::nullopt;
  }
  const auto scheme = pieces->scheme.substr(0, pieces->scheme.find('+'));
  if (scheme != "postgresql" && scheme != "postgres") {
    error = "found the scheme \"" + std::string(pieces->scheme) + "\"" + std::string(allowed);
    return std::nullopt;
  }
  for (std::string_view hosts = pieces->hosts; !hosts.empty();) {
    const auto comma = hosts.find(',');
    std::string host;
    int port = 0;
    if (!split_host(hosts.substr(0, comma), host, port, error)) return std::nullopt;
    hosts = comma == std::string_view::npos ? std::string_view{} : hosts.substr(comma + 1);
  }
  const auto known = split_words({libpq_words, libpq_secrets});
  for (const auto& [name, value] : pieces->query) {
    if (!contains(known, name)) {
      error = unknown_parameter(name, known, "the connection parameters of libpq");
      return std::nullopt;
    }
  }
  if (!postgres_target(*pieces, error)) return std::nullopt;
  return std::string(scheme) + std::string(url.substr(pieces->scheme.size()));
}

bool has_password(std::string_view url) {
  std::string ignored;
  const auto pieces = split(url, ignored);
  if (!pieces) return false;
  return !pieces->password.value_or("").empty() ||
         std::any_of(pieces->query.begin(), pieces->query.end(), [](const auto& parameter) {
           return parameter.first == "password" && !parameter.second.empty();
         });
}

bool has_sentinel_password(std::string_view url) {
  std::string ignored;
  const auto address = parse_redis_url(url, ignored);
  return address && !address->sentinel_password.empty();
}

bool is_any_of_several(std::string_view url) {
  std::string ignored;
  const auto pieces = split(url, ignored);
  if (!pieces) return false;
  bool several = pieces->hosts.find(',') != std::string_view::npos;
  for (const auto& [name, value] : pieces->query) {
    if (name == "target_session_attrs") return false;
    if (name != "host" && name != "hostaddr") continue;
    several = several || decode(value).value_or("").find(',') != std::string::npos;
  }
  return several;
}

std::string with_parameter(std::string url, std::string_view name, std::string_view value) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  // A '?' in front of the '@' belongs to the password.
  const auto begin = url.find("://") + 3;
  const auto at = url.find('@', begin);
  const auto place = at < url.find('/', begin) ? at : begin;
  const auto query = url.find('?', place);
  if (query == std::string::npos) {
    url += '?';
  } else if (query + 1 != url.size() && !url.ends_with('&')) {
    // An empty parameter, as between "?&" or "&&", is none to libpq.
    url += '&';
  }
  url += name;
  url += '=';
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
    if (is_plain) {
      url += c;
    } else {
      url += '%';
      url += hex[byte >> 4U];
      url += hex[byte & 15U];
    }
  }
  return url;
}

std::string mask_url(std::string_view url) {
  std::string ignored;
  const auto pieces = split(url, ignored);
  if (!pieces) {
    const auto colon = url.find("://");
    const bool has_scheme = colon != std::string_view::npos && is_scheme(url.substr(0, colon));
    return has_scheme ? std::string(url.substr(0, colon)) + "://***" : "***";
  }
  std::string masked = std::string(pieces->scheme) + "://";
  if (pieces->has_credentials) {
    // Whoever forgot the colon of "redis://:password@host" wrote a password.
    const bool is_postgres = pieces->scheme.starts_with("postgres");
    masked += is_postgres || pieces->password ? std::string(pieces->user) : "***";
    if (pieces->password) masked += ":***";
    masked += '@';
  }
  masked += pieces->hosts;
  masked += pieces->path;
  char separator = '?';
  for (const auto& [name, value] : pieces->query) {
    masked += separator;
    separator = '&';
    // What is no parameter's name may be a piece of a password that holds an '&'.
    masked += is_known(name) ? name : "***";
    masked += '=';
    masked += is_shown(name) ? without_at(value) : "***";
  }
  return masked;
}

}  // namespace saathii::config
