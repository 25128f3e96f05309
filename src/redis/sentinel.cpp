#include "sentinel.hpp"

#include <charconv>

namespace saathii::redis {
namespace {

[[noreturn]] void refuse(const std::string& error) {
  std::string text = "refuses to answer: " + error;
  if (first_word(error) == "NOAUTH") {
    text += " Name a file that holds the sentinels' password in [redis] sentinel_password_file";
  } else if (first_word(error) == "WRONGPASS") {
    text += "; the password is that of the sentinels";
  }
  throw Failure(text);
}

int port_of(const std::string& text) {
  int port = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool is_whole = failure == std::errc{} && end == text.data() + text.size();
  return is_whole && port > 0 && port < 65'536 ? port : 0;
}

}  // namespace

config::HostAndPort ask_sentinel(const config::HostAndPort& sentinel,
                                 const SentinelQuestion& question) {
  auto connection = Connection::to_host(sentinel.host, sentinel.port);
  connection.wait_until_open(question.deadline, question.told_limit);
  const auto ask = [&](const Command& command) {
    auto reply = connection.ask(command, question.deadline, question.told_limit);
    if (reply.kind == Reply::Kind::error) refuse(reply.text);
    return reply;
  };
  if (!question.password.empty()) {
    ask(question.username.empty() ? Command{"AUTH", question.password}
                                  : Command{"AUTH", question.username, question.password});
  }
  const auto place = ask({"SENTINEL", "get-master-addr-by-name", question.master_name});
  if (place.kind == Reply::Kind::nil) {
    throw Failure("knows no master \"" + question.master_name +
                  "\"; its name is in the sentinel's \"sentinel monitor\"");
  }
  const bool is_place = place.kind == Reply::Kind::list && place.list.size() == 2 &&
                        !place.list[0].text.empty() && port_of(place.list[1].text) != 0;
  if (!is_place) throw Failure("answers something else than a master's address");
  return {.host = place.list[0].text, .port = port_of(place.list[1].text)};
}

void require_master(Connection& connection, Connection::Steady::time_point deadline,
                    Duration told_limit) {
  const auto role = connection.ask({"ROLE"}, deadline, told_limit);
  if (role.kind == Reply::Kind::error) return;
  const bool has_role = role.kind == Reply::Kind::list && !role.list.empty();
  if (has_role && role.list.front().text == "master") return;
  throw Failure("it is no master (it says \"" + (has_role ? role.list.front().text : role.text) +
                "\"): a failover is under way, or the sentinel has not heard of the last one");
}

std::string to_string(const config::HostAndPort& place) {
  const bool is_v6 = place.host.find(':') != std::string::npos;
  return (is_v6 ? "[" + place.host + "]" : place.host) + ":" + std::to_string(place.port);
}

}  // namespace saathii::redis
