#include "saathii/postgres/session.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <system_error>

#include "leadership.sql.hpp"
#include "saathii/base/first_line.hpp"
#include "saathii/config/url.hpp"
#include "saathii/log/log.hpp"

#if defined(__SANITIZE_ADDRESS__) && PQXX_VERSION_MAJOR < 7
// libpqxx 6.4 loses the result (some 2 KB) with which a lost connection is
// noticed: it asks for the connection's encoding, and throws, before the result
// has an owner.
extern "C" __attribute__((weak)) const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libpqxx-6.\n"; }
#endif

namespace saathii::postgres {

namespace {

/// How soon either side notices that the other is gone, of a connection that is silent.
constexpr int keepalives_idle_s = 10;
constexpr int keepalives_interval_s = 5;
constexpr int keepalives_count = 3;

/// The URL with its password and what keeps a connection from hanging, unless it
/// says so itself. One that libpq cannot read never reaches it: its message would hold parts of
/// the password.
std::string connection_url(const config::Postgres& settings) {
  using std::chrono::duration_cast;
  std::string refused;
  const auto valid = config::parse_postgres_url(settings.url, refused);
  if (!valid) {
    throw std::invalid_argument("the URL of PostgreSQL: " + refused);
  }
  const auto seconds = std::max<std::int64_t>(
      duration_cast<std::chrono::seconds>(settings.connect_timeout).count(), 1);
  const auto user_timeout_ms =
      duration_cast<std::chrono::milliseconds>(settings.tcp_user_timeout).count();
  const std::pair<std::string_view, std::string> defaults[] = {
      {"connect_timeout", std::to_string(seconds)},
      {"keepalives_idle", std::to_string(keepalives_idle_s)},
      {"keepalives_interval", std::to_string(keepalives_interval_s)},
      {"keepalives_count", std::to_string(keepalives_count)},
      {"tcp_user_timeout", std::to_string(user_timeout_ms)},
      {"application_name", "saathiid"},
  };
  std::string url = *valid;
  if (config::is_any_of_several(url)) {
    url = config::with_parameter(std::move(url), "target_session_attrs", "read-write");
  }
  if (!config::has_password(url)) {
    if (const auto password = read_password(settings.password)) {
      url = config::with_parameter(std::move(url), "password", *password);
    }
  }
  for (const auto& [key, value] : defaults) {
    if (url.find(fmt::format("{}=", key)) != std::string::npos) {
      continue;
    }
    url = config::with_parameter(std::move(url), key, value);
  }
  return url;
}

/// What an operator has to know of a server on which no job can do its work.
constexpr const char* takes_no_writes =
    "read-only: this server is a standby or read-only; list the primary in the URL, with "
    "target_session_attrs=read-write";
constexpr const char* read_only_sql_transaction = "25006";

/// More hosts than this are not told of.
constexpr int max_told_hosts = 8;

/// Why no host was of use: libpq has a line for each, and hints below it.
std::string all_hosts(std::string_view failure) {
  std::string text;
  for (int hosts = 0; !failure.empty() && hosts < max_told_hosts;) {
    const auto line = first_line(failure);
    failure.remove_prefix(std::min(line.size() + 1, failure.size()));
    if (line.empty() || line.starts_with('\t')) {
      continue;
    }
    text += (text.empty() ? "" : "; ") + line;
    ++hosts;
  }
  const auto says = [&](const char* what) { return text.find(what) != std::string::npos; };
  if (says("session is read-only") || says("server is in hot standby mode")) {
    text += "; none of the hosts takes writes: a standby has to be promoted, or the primary named";
  }
  return text;
}

/// What an operator has to know where a COMMIT waits for ever. PostgreSQL has
/// committed it on its own disk then, and neither statement_timeout nor a lost
/// client ends the wait: one more session would only be one more that waits.
std::string standby_is_missing(Duration patience) {
  return fmt::format(
      "commits of saathiid have waited for a synchronous standby for more than {}: see "
      "pg_stat_replication; bring the standby back, or take it out of synchronous_standby_names",
      format_duration(patience));
}

/// Where a password that the server did not take came from, for who has to set
/// it right; empty for any other failure.
std::string about_password(const config::Postgres& settings, std::string_view failure) {
  if (failure.find("no password supplied") != std::string_view::npos) {
    return "; name a file that holds it in [postgres] password_file";
  }
  if (failure.find("password authentication failed") == std::string_view::npos) {
    return {};
  }
  if (config::has_password(settings.url)) {
    return "; the password is that of the URL";
  }
  const std::string& file =
      settings.password.file.empty() ? settings.password.credential : settings.password.file;
  return file.empty() ? "" : "; the password is that of " + file;
}

std::string sqlstate_of(const pqxx::failure& error) {
  const auto* sql = dynamic_cast<const pqxx::sql_error*>(&error);
  return sql == nullptr ? std::string{} : sql->sqlstate();
}

/// Errors after which the same work may succeed later on another connection:
/// lost connections, a server that starts, stops or is full, a standby.
bool is_unavailable(const pqxx::failure& error, std::string_view sqlstate) {
  return dynamic_cast<const pqxx::broken_connection*>(&error) != nullptr ||
         dynamic_cast<const pqxx::in_doubt_error*>(&error) != nullptr ||
         sqlstate.starts_with("08") || sqlstate.starts_with("57P") || sqlstate == "53300" ||
         sqlstate == read_only_sql_transaction;
}

void pause_before_retry(int tries) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const int most_ms = 10 << std::min(tries, 6);
  std::uniform_int_distribution<int> pause_ms{1, most_ms};
  std::this_thread::sleep_for(std::chrono::milliseconds{pause_ms(random)});
}

}  // namespace

Session::Session(const config::Postgres& settings, ServerState& state)
    : state_(state), settings_(settings) {
  try {
    connection_ = std::make_unique<pqxx::connection>(connection_url(settings));
    forbid_reconnecting(*connection_);
  } catch (const pqxx::failure& error) {
    unavailable(all_hosts(error.what()) + about_password(settings, error.what()));
  } catch (const PasswordUnreadable& error) {
    unavailable(error.what());
  }
  socket_ = ::fcntl(connection_->sock(), F_DUPFD_CLOEXEC, 0);
  if (socket_ < 0) {
    throw std::system_error(errno, std::generic_category(), "a descriptor for PostgreSQL");
  }
}

/// Not when it connects: until it is whole nobody could interrupt it.
void Session::set_up() {
  if (is_set_up_) {
    return;
  }
  bool read_only = false;
  bool unacknowledged = false;
  try {
    const auto ms = [](Duration length) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(length).count();
    };
    pqxx::nontransaction setup(*connection_);
    // One round trip. JIT compilation costs a big statement up to a second;
    // client_connection_check_interval ends a statement whose client is gone; the
    // server's keepalives (two hours, else) the session and the locks of a machine
    // that cannot be reached.
    // plan_cache_mode stays: custom plans by force would plan anew the foreign-key
    // check of every inserted row, a quarter of the cost of a charging run.
    const auto answer = setup.exec(fmt::format(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET jit = off; SET TimeZone = 'UTC';"
        "SET idle_in_transaction_session_timeout = 60000; SET work_mem = '32MB';"
        "SET client_connection_check_interval = 2000;"
        "SET tcp_keepalives_idle = {}; SET tcp_keepalives_interval = {};"
        "SET tcp_keepalives_count = {}; SET tcp_user_timeout = {};"
        "SELECT current_setting('transaction_read_only'),"
        "       EXISTS (SELECT FROM pg_stat_activity"
        "         WHERE usename = current_user AND datname = current_database()"
        "           AND wait_event = 'SyncRep'"
        "           AND state_change < clock_timestamp() - interval '{} ms')",
        ms(settings_.statement_timeout), ms(settings_.lock_timeout), keepalives_idle_s,
        keepalives_interval_s, keepalives_count, ms(settings_.tcp_user_timeout),
        ms(settings_.tcp_user_timeout)));
    read_only = answer[0][0].c_str() == std::string_view{"on"};
    unacknowledged = answer[0][1].as<bool>();
  } catch (const pqxx::failure& error) {
    broken_ = true;
    unavailable(in_plain_words(first_line(error.what())));
  }
  // Found out here and not by the first write: a server that is up for every
  // connection and down for every run would be told of each time.
  if (read_only && !settings_.only_reads) {
    broken_ = true;
    unavailable(takes_no_writes);
  }
  if (unacknowledged) {
    broken_ = true;
    const auto reason = standby_is_missing(settings_.tcp_user_timeout);
    // Said of its own: that the server is down was said when the first was given up.
    log::warning(log::Message::server_down, "postgres acknowledges nothing: " + reason,
                 {{"SERVER", "postgres"}});
    unavailable(reason);
  }
  is_set_up_ = true;
  state_.report_up();
}

Session::~Session() { ::close(socket_); }

void Session::unavailable(const std::string& reason) {
  state_.report_down(reason);
  throw Unavailable("postgres", reason);
}

void Session::interrupt() const noexcept { ::shutdown(socket_, SHUT_RDWR); }

void Session::interrupt_if_stuck(Duration grace) const noexcept {
  const std::int64_t since = waiting_since_;
  const std::chrono::steady_clock::time_point asked{std::chrono::steady_clock::duration{since}};
  if (since != 0 &&
      std::chrono::steady_clock::now() - asked > settings_.statement_timeout + grace) {
    interrupt();
  }
}

bool Session::usable() const noexcept {
  if (broken_ || !connection_->is_open()) {
    return false;
  }
  // On an idle connection anything to read is the server's farewell.
  pollfd look{socket_, POLLIN, 0};
  return ::poll(&look, 1, 0) == 0;
}

void Session::prepare(const Statement& statement) {
  if (prepared_.contains(statement.name)) {
    return;
  }
  connection_->prepare(statement.name, statement.text);
  prepared_.insert(statement.name);
}

/// The row stays locked until the transaction ends: who takes over waits for it.
void Session::require_term(pqxx::transaction_base& transaction) {
  if (exec(transaction, sql::leadership::fence, term_).empty()) {
    throw Deposed("another instance leads since, under a newer term than " + std::to_string(term_));
  }
}

void Session::lift_limits() {
  autocommit(
      [](auto& each) { return each.exec("SET statement_timeout = 0; SET lock_timeout = 0"); });
  has_limits_ = false;
}

void Session::listen(const char* channel) {
  autocommit([&](auto& each) { return each.exec(fmt::format("LISTEN {}", channel)); });
}

void Session::await_notification(int wake, Duration limit) {
  const auto limit_ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  pollfd looks[] = {{socket_, POLLIN, 0}, {wake, POLLIN, 0}};
  if (::poll(looks, 2, static_cast<int>(std::clamp<std::int64_t>(limit_ms, 0, INT_MAX))) <= 0 ||
      looks[0].revents == 0) {
    return;
  }
  guarded([&] { return connection_->get_notifs(); });
}

void Session::rethrow_unless_retryable(const pqxx::failure& error, int tries) {
  const std::string sqlstate = sqlstate_of(error);
  const std::string reason = in_plain_words(first_line(error.what()));
  if (is_unavailable(error, sqlstate) || !connection_->is_open()) {
    broken_ = true;
    unavailable(sqlstate == read_only_sql_transaction ? takes_no_writes : reason);
  }
  if (sqlstate == "55P03") {
    throw LockTimeout(reason);
  }
  // The platform changed a table: this session's prepared statements no longer
  // fit, another's will.
  broken_ = broken_ || sqlstate == "0A000" || sqlstate == "26000";
  const bool retryable = sqlstate == "40001" || sqlstate == "40P01" ||
                         dynamic_cast<const pqxx::transaction_rollback*>(&error) != nullptr;
  if (!retryable || tries >= max_transaction_tries) {
    throw;
  }
  pause_before_retry(tries);
}

}  // namespace saathii::postgres
