
main(process.argv.slice(2));
