#pragma once

#include <memory>
#include <stop_token>

#include "saathii/audit/audit.hpp"
#include "saathii/config/loader.hpp"

namespace saathii::audit {

/// The daemon's configuration, as the daemon reads it, with the passwords that its
/// unit would hand over where this user may read them.
[[nodiscard]] config::Loaded load_config(const std::string& file);

/// An audit's own connections to the servers of a configuration. One thread; a
/// stop that is requested by any other breaks off whatever waits, as Stopped.
class Desk {
 public:
  /// Connects to PostgreSQL. Throws Unavailable, postgres::NewerSchema.
  Desk(const config::Config& config, std::stop_token stop);
  ~Desk();
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  // As the functions of audit.hpp.
  [[nodiscard]] Report run(const Options& options, const Progress& progress);
  [[nodiscard]] Plan plan(const Report& report);
  [[nodiscard]] bool apply(const Repair& repair);
  Baseline take_baseline();

 private:
  struct Connections;
  template <typename Body>
  auto unless_stopped(Body&& body);

  const Terms terms_;
  const std::stop_token stop_;
  std::unique_ptr<Connections> connections_;
};

}  // namespace saathii::audit
