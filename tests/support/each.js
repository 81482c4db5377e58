// Runs a program of docs/receipts/ on every three files, in one process: node each.js PROGRAM FILE FILE FILE ...
// Prints of each run stdout, stderr and exit code, each ended by a zero byte.
"use strict";
const [program, ...files] = process.argv.slice(2);
const printed = { log: "", error: "" };
const write = process.stdout.write.bind(process.stdout);
for (const name of Object.keys(printed)) console[name] = (text) => { printed[name] += `${text}\n`; };

while (files.length) {
  Object.assign(printed, { log: "", error: "" });
  process.argv = [process.argv[0], program, ...files.splice(0, 3)];
  delete require.cache[require.resolve(program)];
  require(program);
  write(`${printed.log}\0${printed.error}\0${process.exitCode}\0`);
}
process.exitCode = 0;
