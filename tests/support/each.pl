# Runs a program of docs/receipts/ on every three files, in forks of one process: perl each.pl PROGRAM FILE FILE FILE ...
# Prints of each run stdout, stderr and exit code, each ended by a zero byte.
use strict; use warnings;
use Digest::SHA; use Encode; use Errno; use File::Temp; use JSON::PP; use MIME::Base64; use POSIX; use Time::Local;

my ($program, @files) = @ARGV; $| = 1;
while (@ARGV = splice @files, 0, 3) {
  my @printed = map { File::Temp->new } 1, 2;
  my $child = fork // die "fork: $!";
  unless ($child) {
    open STDOUT, ">&", $printed[0] or die $!; open STDERR, ">&", $printed[1] or die $!;
    do $program; die $@ if $@; exit 0;
  }
  waitpid $child, 0; my $code = $? >> 8;
  for (@printed) { open my $in, "<:raw", "$_" or die $!; local $/; print <$in> // "", "\0" }
  print "$code\0";
}
