// Values as text: what is read is written so that it reads back, and a URL that is
// refused or printed gives no password away.

#include <array>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "fuzz.hpp"
#include "saathii/base/time.hpp"
#include "saathii/config/alert_url.hpp"
#include "saathii/config/listen.hpp"
#include "saathii/config/url.hpp"
#include "saathii/postgres/array.hpp"

namespace {

using saathii::Duration;
using saathii::Instant;
using saathii::fuzz::Input;
using saathii::fuzz::require;

constexpr std::string_view secret = "Geheim77";

bool has_secret(std::string_view text) { return text.find(secret) != std::string_view::npos; }

void check_duration(Input input) {
  const Duration any{static_cast<std::int64_t>(Input(input).word())};
  require(!saathii::humanize(any).empty() && !saathii::format_duration(any).empty(),
          "any duration can be told");
  constexpr Duration longest = std::chrono::days{36'525};
  if (any >= Duration{0} && any <= longest) {
    const auto text = saathii::format_duration(any);
    require(saathii::parse_duration(text) == any, "a duration reads back", text);
  }
  if (const auto length = saathii::parse_duration(input.rest())) {
    const auto text = saathii::format_duration(*length);
    require(*length >= Duration{0} && *length <= longest, "a duration is within its limits", text);
    require(saathii::parse_duration(text) == length, "a duration reads back", text);
  }
}

void check_moment(Input input) {
  if (const auto moment = saathii::parse_iso8601(input.rest())) {
    const auto text = saathii::to_iso8601(*moment);
    require(saathii::parse_iso8601(text) == moment, "a moment reads back", text);
  }
  constexpr Instant first = std::chrono::sys_days{std::chrono::year{1} / 1 / 1};
  constexpr Instant end = std::chrono::sys_days{std::chrono::year{10'000} / 1 / 1};
  const auto span = static_cast<std::uint64_t>((end - first).count());
  const auto moment = first + Duration{static_cast<std::int64_t>(input.word() % span)};
  const auto text = saathii::to_iso8601(moment);
  require(saathii::parse_iso8601(text) == moment, "a moment reads back", text);
}

void check_masked(std::string_view url) {
  const auto masked = saathii::config::mask_url(url);
  require(saathii::config::mask_url(masked) == masked, "masked is masked", url);
  std::string error;
  if (const auto accepted = saathii::config::parse_postgres_url(url, error)) {
    require(saathii::config::parse_postgres_url(masked, error).has_value(),
            "a masked URL of PostgreSQL is one", url);
    const auto more =
        saathii::config::with_parameter(*accepted, "application_name", "a&b=c%d e/?@:#");
    require(saathii::config::parse_postgres_url(more, error).has_value(),
            "a URL with one parameter more is one", url);
    require(saathii::config::has_password(more) == saathii::config::has_password(*accepted),
            "one parameter more is no password", url);
  } else {
    require(!error.empty(), "what is wrong is told", url);
  }
}

void check_redis(std::string_view url) {
  std::string error;
  const auto address = saathii::config::parse_redis_url(url, error);
  require(address.has_value() || !error.empty(), "what is wrong is told", url);
  if (address) {
    const int places = (address->host.empty() ? 0 : 1) + (address->path.empty() ? 0 : 1) +
                       (address->sentinels.empty() ? 0 : 1);
    require(places == 1, "a host, a path or sentinels", url);
    require(address->sentinels.empty() == address->master_name.empty(), "a master's name", url);
    require(address->sentinels.size() <= saathii::config::max_sentinels, "so many", url);
    for (const auto& sentinel : address->sentinels) {
      require(!sentinel.host.empty() && sentinel.port > 0 && sentinel.port < 65'536, "a sentinel",
              url);
    }
    require(address->port > 0 && address->port < 65'536, "a port", url);
    require(!address->password.empty() == saathii::config::has_password(url), "a password is one",
            url);
    require(saathii::config::parse_redis_url(saathii::config::mask_url(url), error).has_value(),
            "a masked URL of Redis is one", url);
  }
}

/// A password in its place, with anything else behind it.
void check_secret(std::string_view rest) {
  if (has_secret(rest)) {
    return;  // there, in a host's place, it is none
  }
  for (const std::string_view scheme :
       {"postgresql://u:", "redis://u:", "redis://:", "unix://:", "redis+sentinel://:",
        "redis+sentinel://s/m?sentinel_password=", "postgresql+asyncpg://u:", "rediss://u:",
        "mysql://u:"}) {
    const auto url = std::string(scheme).append(secret).append(rest);
    std::string of_postgres;
    std::string of_redis;
    const bool taken = saathii::config::parse_postgres_url(url, of_postgres).has_value() ||
                       saathii::config::parse_redis_url(url, of_redis).has_value();
    require(!has_secret(of_postgres) && !has_secret(of_redis), "no error holds a password", url);
    require(!taken || !has_secret(saathii::config::mask_url(url)), "no URL shows a password", url);
  }
}

void check_alert_urls(std::string_view text) {
  std::string error;
  if (const auto place = saathii::config::parse_smtp_url(text, error)) {
    require(!place->host.empty() && place->port > 0 && place->port < 65'536, "a mail server", text);
    const auto url =
        (place->tls ? "smtps://" : "smtp://") + place->host + ":" + std::to_string(place->port);
    const auto again = saathii::config::parse_smtp_url(url, error);
    require(again && again->host == place->host && again->port == place->port &&
                again->tls == place->tls,
            "a mail server reads back", text);
  }
  const auto masked = saathii::config::mask_webhook_url(text);
  require(saathii::config::mask_webhook_url(masked) == masked, "masked is masked", text);
  if (saathii::config::is_webhook_url(text, error)) {
    require(saathii::config::is_webhook_url(masked, error), "a masked web hook is one", text);
    require(saathii::config::keeps_secrets(text) == saathii::config::keeps_secrets(masked),
            "a masked web hook is as safe", text);
  }
  if (saathii::config::is_mail_address(text)) {
    require(text.find_first_of(" \r\n,<>") == std::string_view::npos, "one address", text);
  }
}

void check_listen(std::string_view text) {
  using Kind = saathii::config::ListenAddress::Kind;
  std::string error;
  const auto address = saathii::config::parse_listen(text, error);
  require(address.has_value() == error.empty(), "what is wrong is told", text);
  if (!address || address->kind == Kind::off) {
    return;
  }
  const bool is_v6 = address->host.find(':') != std::string::npos;
  const auto again = address->kind == Kind::unix_socket ? "unix:" + address->path
                     : is_v6 ? "[" + address->host + "]:" + std::to_string(address->port)
                             : address->host + ":" + std::to_string(address->port);
  require(saathii::config::parse_listen(again, error) == address, "an address reads back", text);
}

void check_array(std::string_view text) {
  std::optional<std::vector<int>> numbers;
  try {
    numbers = saathii::postgres::parse_int_array(text);
  } catch (const std::invalid_argument&) {
    return;
  }
  require(saathii::postgres::parse_int_array(saathii::postgres::to_array(*numbers)) == *numbers,
          "an array reads back", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto form = input.byte();
  switch (form % 7) {
    case 0:
      check_duration(input);
      break;
    case 1:
      check_moment(input);
      break;
    case 2:
      check_masked(input.rest());
      check_redis(input.rest());
      break;
    case 3:
      check_secret(input.rest());
      break;
    case 4:
      check_alert_urls(input.rest());
      break;
    case 5:
      check_listen(input.rest());
      break;
    default:
      check_array(input.rest());
  }
  return 0;
}
