#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "../support/redis_server.hpp"
#include "../support/temporary_file.hpp"
#include "saathii/redis/client.hpp"

// A real master with a replica, and three sentinels that watch over them.

namespace saathii::test {

class SentinelGroup {
 public:
  static constexpr std::size_t sentinel_count = 3;

  /// Returns once the replica follows its master and all sentinels are there;
  /// they know each other and the replica from the start. `sentinel_password`
  /// is what the sentinels ask their clients for.
  explicit SentinelGroup(const std::string& sentinel_password = "") {
    for (int& port : node_ports_) port = RedisServer::free_port();
    for (int& port : sentinel_ports_) port = RedisServer::free_port();
    master_ = std::make_unique<RedisServer>(words_of(0));
    auto follows = words_of(1);
    follows.insert(follows.end(), {"--replicaof", "127.0.0.1", std::to_string(node_ports_[0])});
    replica_ = std::make_unique<RedisServer>(follows);
    ServerState ignored("redis");
    redis::Client client(RedisServer::patient(master_->url()), ignored);
    client.command({"SET", "written", "before"});
    client.command({"WAIT", "1", "20000"});
    for (std::size_t i = 0; i < sentinel_count; ++i) start_sentinel(i, sentinel_password);
  }

  [[nodiscard]] std::string url(const std::string& query = "") const {
    std::string text = "redis+sentinel://";
    for (const int port : sentinel_ports_) {
      text += (text.ends_with('/') ? "127.0.0.1:" : ",127.0.0.1:") + std::to_string(port);
    }
    return text + "/themaster" + query;
  }

  RedisServer& master() { return *master_; }    ///< the first one
  RedisServer& replica() { return *replica_; }  ///< the first one's
  RedisServer& sentinel(std::size_t i) { return *sentinels_.at(i); }
  [[nodiscard]] int node_port(std::size_t i) const { return node_ports_.at(i); }
  [[nodiscard]] int sentinel_port(std::size_t i) const { return sentinel_ports_.at(i); }

 private:
  [[nodiscard]] std::vector<std::string> words_of(std::size_t node) const {
    return {"--port", std::to_string(node_ports_.at(node)), "--bind", "127.0.0.1",
            // A replica that asks has what it asks for at once.
            "--repl-diskless-sync-delay", "0"};
  }

  static std::string id_of(std::size_t sentinel) {
    return std::string(39, '0') + std::to_string(sentinel + 1);
  }

  void start_sentinel(std::size_t i, const std::string& password) {
    std::string text = "sentinel myid " + id_of(i) + "\nsentinel monitor themaster 127.0.0.1 " +
                       std::to_string(node_ports_[0]) + " 2\n" +
                       "sentinel down-after-milliseconds themaster 1000\n"
                       "sentinel failover-timeout themaster 4000\n"
                       "sentinel known-replica themaster 127.0.0.1 " +
                       std::to_string(node_ports_[1]) + "\n";
    for (std::size_t other = 0; other < sentinel_count; ++other) {
      if (other == i) continue;
      text += "sentinel known-sentinel themaster 127.0.0.1 " +
              std::to_string(sentinel_ports_.at(other)) + " " + id_of(other) + "\n";
    }
    auto& file = files_.at(i);
    file.write(text);
    std::vector<std::string> words = {file.path(), "--port", std::to_string(sentinel_ports_.at(i)),
                                      "--bind", "127.0.0.1"};
    if (!password.empty()) words.insert(words.end(), {"--requirepass", password});
    words.emplace_back("--sentinel");
    sentinels_.push_back(std::make_unique<RedisServer>(words));
  }

  std::array<int, 2> node_ports_{};
  std::array<int, sentinel_count> sentinel_ports_{};
  std::array<TemporaryFile, sentinel_count> files_;
  std::unique_ptr<RedisServer> master_;
  std::unique_ptr<RedisServer> replica_;
  std::vector<std::unique_ptr<RedisServer>> sentinels_;
};

}  // namespace saathii::test
