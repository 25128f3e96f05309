#pragma once

namespace saathii::postgres {

/// A statement of a .sql file, embedded at build time: "file.name" and its text.
struct Statement {
  const char* name;
  const char* text;
};

}  // namespace saathii::postgres
