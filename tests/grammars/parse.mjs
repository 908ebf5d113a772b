// Reads {"traceql": [...], "logql": [...]} and writes, for each query, where its grammar stumbles.
import { readFileSync } from "node:fs";
import { parser as logql } from "@grafana/lezer-logql";
import { parser as traceql } from "@grafana/lezer-traceql";

const stumbles = (parser, query) => {
  const places = [];
  parser.parse(query).iterate({
    enter: (node) => {
      if (node.type.isError) places.push(node.from);
    },
  });
  return places;
};

const asked = JSON.parse(readFileSync(0, "utf8"));
const answer = Object.entries({ traceql, logql }).map(([language, parser]) => [
  language,
  asked[language].map((query) => stumbles(parser, query)),
]);
console.log(JSON.stringify(Object.fromEntries(answer)));
